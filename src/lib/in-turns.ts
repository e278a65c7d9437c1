import { setImmediate as turn } from 'node:timers/promises';

const STEP = 200;

/** The items, with a turn for everybody else now and then: for long loops whose awaits have nothing to wait for. */
export async function* inTurns<T>(items: Iterable<T>): AsyncGenerator<T, void> {
  let count = 0;
  for (const item of items) {
    if (++count % STEP === 0) await turn();
    yield item;
  }
}
