type Step = () => Promise<void>;

/** The end of the server or of a command: first all work ends, then the parts close. */
export class Cleanup {
  readonly #work: Step[] = [];
  readonly #parts: Step[] = [];
  #isRunning = false;

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** How work ends, such as answers to clients. All work ends at the same time, while the parts still serve it. */
  pushWork(step: Step): void {
    this.#work.push(step);
  }

  /** How a part closes. The part that was pushed last closes first. */
  push(step: Step): void {
    this.#parts.push(step);
  }

  readonly run = async (): Promise<void> => {
    this.#isRunning = true;
    await Promise.all(this.#work.splice(0).map((end) => end()));
    for (let close = this.#parts.pop(); close !== undefined; close = this.#parts.pop()) await close();
  };
}
