/** What is to be given back, the last first. */
export class Cleanup {
  readonly #steps: (() => Promise<void>)[] = [];

  push(step: () => Promise<void>): void {
    this.#steps.push(step);
  }

  readonly run = async (): Promise<void> => {
    for (let last = this.#steps.pop(); last !== undefined; last = this.#steps.pop()) await last();
  };
}
