"use strict";

/** The most pairs of words that are compared: 4,000 by 4,000 take a tenth of a second and 32 MB. */
const MOST_PAIRS = 16e6;

/** A text cut into words, in any language, each with the spaces and line breaks after it. */
function wordsOf(text) {
  const words = [];
  for (const { segment } of new Intl.Segmenter("en", { granularity: "word" }).segment(text)) {
    if (words.length && !segment.trim()) words[words.length - 1] += segment;
    else words.push(segment);
  }
  return words;
}

/**
 * Two texts as runs of {text, same}: whether the words of a run are part of a longest common subsequence.
 *
 * Words are compared without the spaces after them. Returns null for texts that are too long to compare.
 */
function wordDiff(one, other) {
  const a = wordsOf(one), b = wordsOf(other);
  const x = a.map((word) => word.trim()), y = b.map((word) => word.trim());
  let start = 0, end = 0;
  while (start < Math.min(x.length, y.length) && x[start] === y[start]) start++;
  while (end < Math.min(x.length, y.length) - start && x[x.length - 1 - end] === y[y.length - 1 - end]) end++;
  const n = x.length - start - end, m = y.length - start - end, width = m + 1;
  if (n * m > MOST_PAIRS) return null;
  const common = new Uint16Array((n + 1) * width); // of the words from (i, j) on
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      common[i * width + j] = x[start + i] === y[start + j]
        ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const inA = new Uint8Array(a.length).fill(1), inB = new Uint8Array(b.length).fill(1);
  for (let i = 0, j = 0; i < n || j < m;) {
    if (i < n && j < m && x[start + i] === y[start + j]) { i++; j++; }
    else if (j === m || (i < n && common[(i + 1) * width + j] >= common[i * width + j + 1])) inA[start + i++] = 0;
    else inB[start + j++] = 0;
  }
  return [runsOf(a, inA), runsOf(b, inB)];
}

function runsOf(words, same) {
  const runs = [];
  words.forEach((word, i) => {
    const last = runs[runs.length - 1];
    if (last && last.same === Boolean(same[i])) last.text += word;
    else runs.push({ text: word, same: Boolean(same[i]) });
  });
  return runs;
}
