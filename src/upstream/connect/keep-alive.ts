import { Agent, type ClientRequest, type ClientRequestArgs } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Pulls come in bursts, up to minutes apart. A server that ends a connection earlier costs a retry. */
const KEEP_ALIVE_MS = 30_000;

type OnConnection = (error: Error | null, socket: Duplex) => void;

/**
 * Connections to servers of one scheme, as many as concurrent requests, so that long bodies delay no others. An idle
 * one is kept for 30 s, or as long as the server says, and does not keep the process alive.
 */
export class KeepAliveAgent extends Agent {
  readonly #scheme: 'http' | 'https';
  readonly #dial: (origin: URL) => Promise<Socket>;

  constructor(scheme: 'http' | 'https', dial: (origin: URL) => Promise<Socket>) {
    super({ keepAlive: true, timeout: KEEP_ALIVE_MS });
    this.#scheme = scheme;
    this.#dial = dial;
  }

  override createConnection(options: ClientRequestArgs, onConnection: OnConnection): undefined {
    const { host, port } = options;
    this.#dial(new URL(`${this.#scheme}://${host}:${port}`)).then(
      (socket) => onConnection(null, socket),
      (error: unknown) => {
        const fail = onConnection as (error: Error) => void;
        fail(error instanceof Error ? error : new Error(String(error)));
        // Node keeps an empty list for each name that failed to connect, and redirects can name any number of hosts.
        const name = this.getName(options);
        if (this.sockets[name]?.length === 0) Reflect.deleteProperty(this.sockets, name);
      },
    );
  }

  /** Unrequested bytes on an idle connection would be taken for the response to the next request. */
  override keepSocketAlive(socket: Duplex) {
    socket.on('data', endUnasked);
    return super.keepSocketAlive(socket);
  }

  endIdle(server: Pick<ClientRequestArgs, 'host' | 'port'>): void {
    for (const socket of this.freeSockets[this.getName(server)] ?? []) socket.destroy();
  }

  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    socket.off('data', endUnasked);
    super.reuseSocket(socket, request);
  }
}

function endUnasked(this: Duplex): void {
  this.destroy();
}
