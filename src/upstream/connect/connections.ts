import type { Connection } from './connection.ts';

/** Pulls come in bursts, up to minutes apart. A server that ends a connection earlier costs a retry. */
const KEEP_ALIVE_MS = 30_000;
/** A connection is given up this long before the server does, which a request on its way would not notice. */
const END_EARLY_MS = 1000;
/** Of one origin. */
const MAX_IDLE = 256;

/**
 * Connections by origin, as many as concurrent requests, so that long bodies delay no others. An idle one is kept for
 * 30 s, or as long as the server says, and does not keep the process alive.
 */
export class Connections {
  readonly #dial: (origin: URL) => Promise<Connection>;
  readonly #open = new Set<Connection>();
  /** By origin; the last used is last. */
  readonly #idle = new Map<string, Connection[]>();
  readonly #timers = new Map<Connection, NodeJS.Timeout>();
  #isClosed = false;

  constructor(dial: (origin: URL) => Promise<Connection>) {
    this.#dial = dial;
  }

  /** An idle connection to the origin of `url`, or a new one. Throws the errors of the dialer. */
  async take(url: URL): Promise<Connection> {
    const idle = this.#idle.get(url.origin)?.findLast(({ socket }) => socket.writable);
    if (idle !== undefined) {
      this.#forget(url.origin, idle);
      idle.socket.ref();
      return idle;
    }
    const connection = await this.#dial(url);
    if (this.#isClosed) connection.socket.destroy();
    this.#open.add(connection);
    connection.socket.once('close', () => {
      this.#open.delete(connection);
      this.#forget(url.origin, connection);
    });
    return connection;
  }

  /** Takes back a connection whose last response has ended. `keptMs`: how long the server will keep it. */
  give(url: URL, connection: Connection, keptMs = Infinity): void {
    const { socket } = connection;
    const idleMs = Math.min(KEEP_ALIVE_MS, keptMs - END_EARLY_MS);
    const others = this.#idle.get(url.origin) ?? [];
    if (idleMs <= 0 || others.length >= MAX_IDLE || !socket.writable) {
      socket.destroy();
      return;
    }
    // Unrequested bytes would be taken for the response to the next request.
    connection.receive(() => socket.destroy());
    socket.unref();
    this.#idle.set(url.origin, [...others, connection]);
    this.#timers.set(connection, setTimeout(() => socket.destroy(), idleMs).unref());
  }

  endIdle(url: URL): void {
    for (const { socket } of this.#idle.get(url.origin) ?? []) socket.destroy();
    this.#idle.delete(url.origin);
  }

  /** Ends all connections, and those that are being made. */
  close(): void {
    this.#isClosed = true;
    for (const { socket } of this.#open) socket.destroy();
  }

  /** The connection is not idle any more. */
  #forget(origin: string, connection: Connection): void {
    clearTimeout(this.#timers.get(connection));
    this.#timers.delete(connection);
    const others = (this.#idle.get(origin) ?? []).filter((other) => other !== connection);
    if (others.length > 0) this.#idle.set(origin, others);
    else this.#idle.delete(origin);
  }
}
