import { SourceMap } from 'node:module';

const COMMENT = /^[ \t]*(?:\/\/.*|\/\*[\s\S]*?\*\/)/gm;
/** Brackets alone tell nothing: V8 takes what follows a `return` for text that has not run. */
const WORD = /[\w$'"`]+/g;

/** Which text of the built program has run, in any of the processes that ran it. */
export class ReachedText {
  /** By path below the program's folder; 1 for each character that has run. */
  #reached = new Map();
  #program;

  /** `program`: URL of the folder of the built program, with a slash at its end. */
  constructor(program) {
    this.#program = program;
  }

  /** What one process has written at its end or at `takeCoverage()`: V8's `ScriptCoverage` of each of its modules. */
  add({ result }) {
    for (const { url, functions } of result) {
      if (!url.startsWith(this.#program)) continue;
      const ranges = functions.flatMap((each) => each.ranges);
      const here = new Uint8Array(Math.max(...ranges.map(({ endOffset }) => endOffset)));
      // The outer ones come first.
      for (const { startOffset, endOffset, count } of ranges) {
        here.fill(Math.min(count, 1), startOffset, endOffset);
      }
      const name = url.slice(this.#program.length);
      const before = this.#reached.get(name);
      this.#reached.set(name, before?.map((value, at) => value | (here[at] ?? 0)) ?? here);
    }
  }

  /** The lines of a file's source that hold code, and those of them with code that no process has run. */
  lines(name, { text, map }) {
    const sourceMap = new SourceMap(map);
    const reached = this.#reached.get(name);
    const code = new Set();
    const missed = new Set();
    const plain = text.replaceAll(COMMENT, (comment) => comment.replaceAll(/\S/g, ' '));
    let offset = 0;
    for (const [at, line] of plain.split('\n').entries()) {
      for (const { index } of line.matchAll(WORD)) {
        const { originalLine } = sourceMap.findEntry(at, index);
        if (originalLine === undefined) continue;
        code.add(originalLine + 1);
        if (reached?.[offset + index] !== 1) missed.add(originalLine + 1);
      }
      offset += line.length + 1;
    }
    return { code: code.size, missed: [...missed].sort((one, other) => one - other) };
  }
}

/** `[1, 2, 3, 7]` as `1–3 7`. */
export function lineRanges(lines) {
  const ranges = [];
  for (const line of lines) {
    const last = ranges.at(-1);
    if (last !== undefined && last.to === line - 1) last.to = line;
    else ranges.push({ from: line, to: line });
  }
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)).join(' ');
}
