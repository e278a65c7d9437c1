import { visible } from '../lib/text.ts';

/** Where progress is shown; standard error, so that results can be piped. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const BAR_CELLS = 30;
/** A log is not to be filled by lines that say nothing new. */
const LINE_MS = 5000;

/** A bar that is drawn over itself on a terminal; elsewhere a line every few seconds. */
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

  /** Takes the bar away; the last call, or before something else is written. */
  clear(): void {
    if (this.#isDrawn) this.#output.write('\r\u001B[K');
    this.#isDrawn = false;
  }

  #draw(share: number, text: string): void {
    const full = Math.floor(share * BAR_CELLS);
    const bar = `[${'#'.repeat(full)}${'-'.repeat(BAR_CELLS - full)}]`;
    // A line that is broken in two could not be drawn over.
    const line = `${bar} ${percent(share)}  ${text}`.slice(0, (this.#output.columns ?? 80) - 1);
    this.#output.write(`\r${line}\u001B[K`);
    this.#isDrawn = true;
  }
}

function percent(share: number): string {
  return `${String(Math.floor(share * 100)).padStart(3)} %`;
}
