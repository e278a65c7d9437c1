import { deferred } from '../../src/lib/promises.ts';
import { withDeadline } from '../support/wait.ts';

/** Holds whoever comes to it until the test lets go; then open for good. */
export class Gate {
  readonly #arrived = deferred<void>();
  readonly #released = deferred<void>();
  readonly #label: string;

  constructor(label: string) {
    this.#label = label;
  }

  /** Resolves when the first comer stands at the gate. */
  get reached(): Promise<void> {
    return withDeadline(this.#arrived.promise, `somebody to reach ${this.#label}`);
  }

  release(): void {
    this.#released.resolve();
  }

  /** For the one who is held. */
  async pass(): Promise<void> {
    this.#arrived.resolve();
    await this.#released.promise;
  }
}
