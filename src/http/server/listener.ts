import type { Server, ServerResponse } from 'node:http';
import { Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** A listening HTTP server that can be stopped without cutting answers short. */
export interface Listener {
  /** `http://127.0.0.1:5000`, or with `https`. */
  readonly url: string;
  /** Number of requests with an open response. */
  readonly answering: number;
  /** Stops accepting; resolves when every open response has ended. */
  drain(): Promise<void>;
  /** Closes all connections at once. */
  cut(): void;
}

/**
 * Number of connections that may wait to be accepted. The system's own limit is `net.core.somaxconn`, 4096 since Linux
 * 5.4. Node accepts one connection per turn of the event loop, so its default of 511 fills up when a fleet begins to
 * pull. The system then drops connections, and clients retry after 1, 3 and 7 s.
 */
const BACKLOG = 4096;

/** Rejects with the system's error if the address cannot be listened on. */
export async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<Listener> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  let isDraining = false;
  let answering = 0;
  const onEnd = (): void => {
    answering--;
    // Closing the server ends idle connections only; this one becomes idle now.
    if (isDraining) setImmediate(() => server.closeIdleConnections());
  };
  server.on('request', (_request, response: ServerResponse) => {
    answering++;
    // Without a listener, a write after the end of the response would end the process.
    response.on('error', () => response.destroy());
    response.on('close', onEnd);
  });
  return {
    url: `${server instanceof SecureServer ? 'https' : 'http'}://${authorityOf(server.address() as AddressInfo)}`,
    get answering() {
      return answering;
    },
    drain: () => {
      isDraining = true;
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
    cut: () => server.closeAllConnections(),
  };
}

/** Waits at most `ms` for open responses, then closes their connections. */
export async function drainWithin(listener: Listener, ms: number): Promise<void> {
  const timer = setTimeout(() => listener.cut(), ms);
  await listener.drain();
  clearTimeout(timer);
}

function authorityOf({ address, family, port }: AddressInfo): string {
  return `${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
