# GNU make 3.81 or newer. `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo story thinkers events test lm-eval exports servers ray lint simulate container bench install install-dev lock pin clean docs reference mutants

# Without compiled files every process would compile PyTorch, transformers and vLLM anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
ARGS :=
WORKERS := 3
OUT := out

help: ## list these commands
	@echo "make demo       install if needed, then run the whole gate on tiny models (CPU, no account)"
	@echo "make story      a pull request from push to release, against a GitHub on loopback"
	@echo "make thinkers   train the tiny models that think before they answer again (minutes)"
	@echo "make test       unit, integration and end-to-end tests, without the simulations"
	@echo "make lm-eval    the tests that need the lm-evaluation-harness, in .venv-lm-eval on top of .venv"
	@echo "make exports    the tests that need MLflow, wandb or Inspect, in .venv-exports on top of .venv"
	@echo "make servers    the tests that ask models behind a real vllm serve"
	@echo "make ray        the tests of replicas on a Ray cluster, in .venv-ray on top of .venv"
	@echo "make lint       style, formatting, types, import direction"
	@echo "make simulate   the slow pass: simulated coverage and error rates"
	@echo "make mutants    change the code that matters a little, again and again: does a test notice? (hours)"
	@echo "make container  build the real image without Docker and start it as a runner does (root, Debian or Ubuntu)"
	@echo "make bench      measure speed (ARGS=... is handed on)"
	@echo "make install    the environment in .venv; install-dev adds the tools for tests"
	@echo "make events     write docs/github-events.md again from recorded jobs"
	@echo "make docs       build the documentation as a site in site/, and check it"
	@echo "make reference  write docs/policy.md and the tree in CONTRIBUTING.md again"
	@echo "make lock       resolve the dependencies again (ARGS=--upgrade for newer versions)"
	@echo "make pin        pin the Dockerfile's base images by the digests that their registries have now"
	@echo "make clean      remove both environments, caches and results"

# Both return at once when nothing changed (scripts/install.py); within one make each runs once, and in this order.
install:
	@sh scripts/install.sh run

install-dev:
	@sh scripts/install.sh dev

demo: install
	@$(BIN)/ftgate demo --out $(OUT) $(ARGS)

# One thread for linear algebra in each worker: with more, they wait for each other on the same cores.
# Three workers even on two cores: one often waits for its engine. They take 10 GB of memory; WORKERS=2 takes 8.
# Files in their order: those with real engines first, so that no long one is left for the end.
test: install-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not container and not server" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lm-eval: install-dev
	@sh scripts/beside.sh lm-eval tests/integration/test_lm_eval.py $(ARGS)

exports: install-dev
	@sh scripts/beside.sh exports tests/integration/test_exports.py $(ARGS)

servers: install-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m server $(ARGS)

ray: install-dev
	@sh scripts/beside.sh ray tests/integration/test_ray.py $(ARGS)

story: install-dev
	@PYTHONPATH=.:tests $(BIN)/python -m examples.pullrequest

thinkers: install-dev
	@$(BIN)/python -m examples.thinkers.make $(ARGS)

events: install-dev
	@PYTHONPATH=.:tests $(BIN)/python -m support.github.table > docs/github-events.md

docs: install-dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS) && echo "open site/index.html"

reference: install-dev
	@PYTHONPATH=. $(BIN)/python scripts/reference.py

# All four run even if one fails, so that one call reports every problem.
lint: install-dev
	@status=0; for check in "ruff check ." "ruff format --check ." mypy "lint-imports --no-logo"; do \
	  echo "--> $$check"; $(BIN)/$$check || status=1; done; exit $$status

# Only the files with such tests: collecting all the others takes longer than many a simulation. One thread: see test.
# pytest's exit code 5: no test was collected. That is no failure, but it is reported.
simulate: install-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $$(grep -rl --include='*.py' 'mark[.]slow' tests) $(ARGS); code=$$?; \
	if [ $$code -eq 5 ]; then echo "make simulate: no test is marked slow, so nothing was simulated."; else exit $$code; fi

mutants: install-dev
	@PYTHONPATH=. $(BIN)/python -m scripts.mutants $(ARGS)

container: install-dev
	@bash scripts/container.sh $(ARGS)

bench: install-dev
	@$(BIN)/python -m benchmarks $(ARGS)

lock: install-dev
	@$(BIN)/python scripts/lock.py $(ARGS)

pin: install-dev
	@PYTHONPATH=. $(BIN)/python -m scripts.pin_images

clean:
	rm -rf .venv .venv-lm-eval .venv-exports .venv-ray build dist site $(OUT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
