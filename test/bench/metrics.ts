import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text as textOf } from 'node:stream/consumers';

/** What a running Pierhead tells of itself, at one moment. */
export class Metrics {
  readonly #lines: readonly string[];

  constructor(text: string) {
    this.#lines = text.split('\n');
  }

  /** How many series there are. */
  get size(): number {
    return this.#lines.filter((line) => line !== '' && !line.startsWith('#')).length;
  }

  /** The sum over all series of `name` whose labels include `labels` (`'result="stored"'`); 0 if there is none. */
  sum(name: string, labels = ''): number {
    return this.#lines
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** Each series of `name`: its labels, and its value. */
  series(name: string): [labels: string, value: number][] {
    return this.#lines
      .filter((line) => line.startsWith(`${name}{`))
      .map((line) => [
        line.slice(name.length, line.lastIndexOf(' ')),
        Number(line.slice(line.lastIndexOf(' ') + 1)),
      ]);
  }
}

/** By a connection that ends with it: one that is kept alive would count among what the server has open. */
export async function readMetrics(adminUrl: string): Promise<Metrics> {
  const request = get(`${adminUrl}/metrics`, { agent: false, headers: { connection: 'close' } });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return new Metrics(await textOf(response));
}
