import type { LookupAddress } from 'node:dns';
import { connect, type Socket } from 'node:net';

/** How long an address is waited for before the next one is tried beside it (RFC 8305 section 5). */
const ATTEMPT_DELAY_MS = 250;

export interface Attempts {
  readonly addresses: readonly LookupAddress[];
  readonly port: number;
  /** Ends all attempts; `reason` is then thrown. */
  readonly signal: AbortSignal;
}

/**
 * The first connection to any of the addresses (RFC 8305). An attempt that takes long goes on beside the next one;
 * Node's `autoSelectFamily` gives it up after 250 ms and never comes back to it. Throws the first error if none can be
 * reached. An error of the connection has no listener but one that ignores it: who uses it listens, or hears `close`.
 */
export function connectToAny({ addresses, port, signal }: Attempts): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const waiting = alternating(addresses);
    const open = new Set<Socket>();
    let firstError: unknown;
    let timer: NodeJS.Timeout | undefined;
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      for (const socket of open) socket.destroy();
    };
    const fail = (error: unknown): void => {
      end();
      reject(error);
    };
    const abort = (): void => fail(signal.reason);
    const next = (): void => {
      clearTimeout(timer);
      const address = waiting.shift();
      if (address === undefined) {
        if (open.size === 0) fail(firstError ?? new Error('the name has no address'));
        return;
      }
      const socket = connect({ host: address.address, port, noDelay: true });
      open.add(socket);
      socket.on('error', (error) => {
        if (!open.delete(socket)) return;
        firstError ??= error;
        next();
      });
      socket.once('connect', () => {
        open.delete(socket);
        end();
        resolve(socket);
      });
      timer = setTimeout(next, ATTEMPT_DELAY_MS);
    };
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    next();
  });
}

/** The families in turn, so that one that leads nowhere costs one delay (RFC 8305 section 4). */
function alternating(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family);
  return first
    .flatMap((address, index) => [address, ...other.slice(index, index + 1)])
    .concat(other.slice(first.length));
}
