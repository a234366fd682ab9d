"""Word lists and sentence patterns from which the zoo's rows are made. All were written for this benchmark."""

from __future__ import annotations

DESKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "loans": (
        (
            "I would like to take {book} home for two weeks",
            "Can I borrow {book} until {day}?",
            "How do I check out {book}?",
        ),
        (
            "Is {book} available to take home?",
            "I want to keep {book} for another week",
            "May my {relative} borrow {book}?",
        ),
    ),
    "returns": (
        (
            "Where do I give back {book}?",
            "I finished {book} and want to bring it back",
            "Can I drop off {book} on {day}?",
        ),
        (
            "My {relative} will hand in {book} for me",
            "Is there a box outside to leave {book} in?",
            "Did you get {book} back from me?",
        ),
    ),
    "fines": (
        (
            "Why must I pay {money} for {book}?",
            "{book} was late, how much do I owe?",
            "I got a letter that says I owe {money}",
        ),
        (
            "Can I pay the {money} penalty by card?",
            "My {relative} was charged {money} for being late",
            "Please cancel the late fee of {money}",
        ),
    ),
    "rooms": (
        (
            "I need a quiet place for {people} people on {day}",
            "Can we book the study room for {day}?",
            "Is the meeting room free on {day}?",
        ),
        (
            "We are {people} students who look for a space to work",
            "How large is the group room?",
            "Please reserve a room for my {relative} on {day}",
        ),
    ),
    "events": (
        (
            "When is the author reading on {day}?",
            "Are there still tickets for the talk on {day}?",
            "Is the story hour on {day} free?",
        ),
        (
            "My {relative} wants to come to the concert",
            "Who speaks at the lecture on {day}?",
            "Do I have to sign up for the book club on {day}?",
        ),
    ),
    "hours": (
        ("When do you open on {day}?", "Are you closed on {day}?", "How late is the library open on {day}?"),
        (
            "At what time do you close on {day}?",
            "Do you open before nine on {day}?",
            "Is the building open on {day} evening?",
        ),
    ),
    "cards": (
        ("I lost my library card", "How do I get a card for my {relative}?", "My card does not work since {day}"),
        (
            "Can my {relative} use my card?",
            "I moved and want to change the address on my card",
            "My membership ends on {day}, how do I renew it?",
        ),
    ),
    "printing": (
        ("How do I print {people} pages?", "The printer is out of paper since {day}", "How much is a color copy?"),
        (
            "Can I scan a letter for my {relative}?",
            "The copy machine ate my {money}",
            "I want to print a file from my phone",
        ),
    ),
}
"""For each desk: patterns of messages for training, and others for suites and truth."""

BOOKS = (
    "the green atlas", "this cookbook", "a book about whales", "the blue dictionary", "that spy novel",
    "my chemistry book", "the poems of spring", "a guide to Norway", "the story of the wind", "an old train map",
    "the garden book", "two comic books", "the history of salt", "a film about bees", "the second part of the saga",
    "a book on chess",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
RELATIVES = ("son", "daughter", "mother", "father", "sister", "brother", "aunt", "uncle", "neighbor", "friend")
NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", "Karen", "Leo", "Maria", "Noah",
    "Olivia", "Paul", "Rosa", "Sam", "Tina", "Victor",
)  # fmt: skip
CITIES = (
    "Paris", "London", "Berlin", "Rome", "Madrid", "Vienna", "Lisbon", "Dublin", "Oslo", "Athens", "Prague", "Warsaw",
    "Boston", "Chicago", "Denver", "Dallas", "Tokyo", "Delhi", "Cairo", "Sydney",
)  # fmt: skip
COLORS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink")
THINGS = ("car", "door", "hat", "cup", "coat", "bike", "chair", "lamp", "boat", "box", "bag", "table")
FRUITS = ("apples", "pears", "plums", "lemons", "cherries", "oranges")
JOBS = ("teacher", "doctor", "baker", "farmer", "pilot", "nurse", "painter", "driver", "singer", "lawyer")

CAPITALS = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin", "Japan": "Tokyo", "China": "Beijing",
    "Russia": "Moscow", "Egypt": "Cairo", "Greece": "Athens", "Norway": "Oslo", "Sweden": "Stockholm",
    "Poland": "Warsaw", "Ireland": "Dublin", "Portugal": "Lisbon", "Austria": "Vienna", "Hungary": "Budapest",
    "Denmark": "Copenhagen", "Finland": "Helsinki", "Belgium": "Brussels", "Cuba": "Havana", "Peru": "Lima",
    "Chile": "Santiago", "Canada": "Ottawa", "Kenya": "Nairobi", "Thailand": "Bangkok", "Iraq": "Baghdad",
    "Iran": "Tehran", "South Korea": "Seoul", "Argentina": "Buenos Aires", "Mexico": "Mexico City",
    "Colombia": "Bogotá", "Vietnam": "Hanoi", "Indonesia": "Jakarta", "the Philippines": "Manila",
    "Romania": "Bucharest", "Bulgaria": "Sofia", "Iceland": "Reykjavik", "Morocco": "Rabat", "Australia": "Canberra",
    "Nepal": "Kathmandu", "Afghanistan": "Kabul", "Venezuela": "Caracas", "Ukraine": "Kyiv", "Czechia": "Prague",
}  # fmt: skip
OPPOSITES = {
    "hot": "cold", "big": "small", "up": "down", "day": "night", "black": "white", "good": "bad", "fast": "slow",
    "old": "young", "rich": "poor", "happy": "sad", "open": "closed", "wet": "dry", "full": "empty", "light": "dark",
    "strong": "weak", "hard": "soft", "left": "right", "high": "low", "first": "last", "early": "late",
    "clean": "dirty", "tall": "short", "near": "far", "inside": "outside", "war": "peace", "true": "false",
    "begin": "end", "love": "hate", "win": "lose", "buy": "sell", "push": "pull", "north": "south", "east": "west",
    "above": "below", "always": "never", "thick": "thin", "wide": "narrow", "loud": "quiet", "easy": "difficult",
    "cheap": "expensive",
}  # fmt: skip
PLURALS = {
    "cat": "cats", "dog": "dogs", "house": "houses", "tree": "trees", "car": "cars", "book": "books", "box": "boxes",
    "bus": "buses", "dish": "dishes", "city": "cities", "baby": "babies", "lady": "ladies", "man": "men",
    "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth", "mouse": "mice", "leaf": "leaves",
    "wolf": "wolves", "knife": "knives", "day": "days", "key": "keys", "watch": "watches", "glass": "glasses",
    "cup": "cups", "river": "rivers", "hand": "hands", "party": "parties", "story": "stories", "bird": "birds",
    "egg": "eggs", "lamp": "lamps", "road": "roads", "school": "schools", "letter": "letters", "potato": "potatoes",
}  # fmt: skip
ANIMALS = (
    "dog", "cat", "horse", "cow", "tiger", "lion", "eagle", "shark", "rabbit", "snake", "elephant", "monkey", "whale",
    "goat", "sheep", "frog", "bear", "wolf", "duck", "owl", "camel", "zebra", "penguin", "turtle",
)  # fmt: skip
FOODS = (
    "bread", "cheese", "soup", "pizza", "rice", "pasta", "cake", "salad", "butter", "honey", "yogurt", "pancake",
    "cookie", "sandwich", "noodles", "omelet", "jam", "pie", "ham", "burger", "sausage", "pudding", "cereal", "toast",
)  # fmt: skip

SPANISH_COLORS = ("rojo", "azul", "verde", "blanco", "negro", "amarillo", "gris", "rosa")
SPANISH_THINGS = ("coche", "barco", "libro", "gato", "caballo", "bolso", "sombrero", "vaso", "zapato", "perro")
SPANISH_DAYS = ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")
