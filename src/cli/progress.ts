import { humanBytes, visible } from '../lib/text.ts';

/** Standard error, so that results can be piped. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const BAR_CELLS = 30;
/** Without a terminal, such as in a log: time between two lines. */
const LINE_MS = 5000;

/** A bar on a terminal, else a line each `LINE_MS`. */
export class Progress {
  readonly #output: ProgressOutput;
  readonly #now: () => number;
  #lineAt: number;
  #isDrawn = false;

  constructor(output: ProgressOutput, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#now = now;
    this.#lineAt = now();
  }

  /** `share` is from 0 to 1; `text` says the same in words. */
  show(share: number, text: string): void {
    if (this.#output.isTTY === true) {
      this.#draw(share, visible(text));
      return;
    }
    const now = this.#now();
    if (now - this.#lineAt < LINE_MS) return;
    this.#lineAt = now;
    this.#output.write(`${percent(share)}  ${visible(text)}\n`);
  }

  /** Removes the bar. Call at the end, and before other output. */
  clear(): void {
    if (this.#isDrawn) this.#output.write('\r\u001B[K');
    this.#isDrawn = false;
  }

  #draw(share: number, text: string): void {
    const full = Math.floor(share * BAR_CELLS);
    const bar = `[${'#'.repeat(full)}${'-'.repeat(BAR_CELLS - full)}]`;
    // `\r` returns only to the start of the last line, so the bar must not wrap.
    const line = `${bar} ${percent(share)}  ${text}`.slice(0, (this.#output.columns ?? 80) - 1);
    this.#output.write(`\r${line}\u001B[K`);
    this.#isDrawn = true;
  }
}

/** The mean speed since `startedAt`, a time of `performance.now()`: `3.1 MB/s`. */
export function rateText(bytes: number, startedAt: number): string {
  const seconds = Math.max((performance.now() - startedAt) / 1000, 0.001);
  return `${humanBytes(bytes / seconds)}/s`;
}

function percent(share: number): string {
  return `${String(Math.floor(share * 100)).padStart(3)} %`;
}
