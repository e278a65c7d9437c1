import type { Server, ServerResponse } from 'node:http';
import { Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** A listening HTTP server that can be stopped without cutting answers short. */
export interface Listener {
  /** Where it listens, as a URL: `http://127.0.0.1:5000`, or `https`. */
  readonly url: string;
  /** How many requests have come whose answers are not over. */
  readonly answering: number;
  /** Stops accepting; resolves when every answer that was under way is out. */
  drain(): Promise<void>;
  /** Cuts what is left. */
  cut(): void;
}

/**
 * How many connections may wait to be accepted; the system lowers it to what it allows (`net.core.somaxconn`, 4096 since
 * Linux 5.4). Node accepts one each time it looks for events, and its own 511 are soon full when a fleet begins to pull:
 * the system then drops what comes, and clients try again after 1, 3 and 7 s.
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
    // Closing the server ends the connections that are idle then; this one becomes idle only after its answer.
    if (isDraining) setImmediate(() => server.closeIdleConnections());
  };
  server.on('request', (_request, response: ServerResponse) => {
    answering++;
    // What is written to an answer that is over would end the process, if nobody heard of it.
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

/** Waits for running answers, but not for ever. */
export async function drainWithin(listener: Listener, ms: number): Promise<void> {
  const timer = setTimeout(() => listener.cut(), ms);
  await listener.drain();
  clearTimeout(timer);
}

function authorityOf({ address, family, port }: AddressInfo): string {
  return `${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
