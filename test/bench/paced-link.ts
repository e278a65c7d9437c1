import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface LinkOptions {
  /** Where it leads to. */
  readonly targetUrl: string;
  readonly roundTripMs: number;
  /** Towards the client. */
  readonly lane: Lane;
}

/** A way to a server that is far away: all that goes through it takes time, and there is only so much room on it. */
export interface PacedLink {
  readonly url: string;
  stop(): Promise<void>;
}

/** What may be on its way of one connection before its sender has to wait: four times what the link holds. */
const WINDOW_TRIPS = 4;

/** A relay on loopback. A connection takes a round trip to stand, as TCP's handshake does; slow start is left out. */
export async function startPacedLink(options: LinkOptions): Promise<PacedLink> {
  const { hostname, port } = new URL(options.targetUrl);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const target = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.once('close', () => sockets.delete(socket));
    }
    client.once('error', () => target.destroy());
    target.once('error', () => client.destroy());
    setTimeout(() => {
      relay(client, target, options, undefined);
      relay(target, client, options, options.lane);
    }, options.roundTripMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** Room that is given out in the order in which it is asked for, for all connections of all links that share it. */
export class Lane {
  readonly bytesPerSecond: number;
  #freeAt = 0;

  constructor(bytesPerSecond: number) {
    this.bytesPerSecond = bytesPerSecond;
  }

  /** When so many bytes are through, ms by `performance.now()`. */
  through(bytes: number): number {
    this.#freeAt = Math.max(performance.now(), this.#freeAt) + (bytes / this.bytesPerSecond) * 1000;
    return this.#freeAt;
  }
}

/** Things to be done at their times, and in their order: timers of different lengths keep none. */
class Schedule {
  readonly #due: { readonly at: number; readonly act: () => void }[] = [];

  add(at: number, act: () => void): void {
    this.#due.push({ at, act });
    if (this.#due.length === 1) this.#wait();
  }

  #wait(): void {
    const [first] = this.#due;
    if (first !== undefined) setTimeout(() => this.#run(), first.at - performance.now());
  }

  #run(): void {
    const now = performance.now();
    while ((this.#due[0]?.at ?? Infinity) <= now) this.#due.shift()?.act();
    this.#wait();
  }
}

function relay(from: Socket, to: Socket, options: LinkOptions, lane: Lane | undefined): void {
  const { roundTripMs } = options;
  const window = (WINDOW_TRIPS * options.lane.bytesPerSecond * roundTripMs) / 1000;
  const schedule = new Schedule();
  let underWay = 0;
  const later = (bytes: number, act: () => void): void => {
    schedule.add((lane?.through(bytes) ?? performance.now()) + roundTripMs / 2, act);
  };
  from.on('data', (chunk: Buffer) => {
    underWay += chunk.length;
    if (underWay > window) from.pause();
    later(chunk.length, () => {
      underWay -= chunk.length;
      if (!to.destroyed) to.write(chunk);
      if (underWay <= window) from.resume();
    });
  });
  from.once('end', () => later(0, () => to.end()));
  from.once('close', () => later(0, () => to.destroySoon()));
  from.resume();
}
