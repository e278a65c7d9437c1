import { once } from 'node:events';
import { get as getPlain, type IncomingMessage } from 'node:http';
import { get as getSecure } from 'node:https';
import type { LoadedSettings } from '../../config/load.ts';
import type { Settings } from '../../config/settings.ts';
import { messageOf } from '../../lib/errors.ts';
import type { ExitCode } from '../exit.ts';
import { printAside } from '../print.ts';

const TIMEOUT_MS = 3000;

/** Asks the server at `listen` whether it is alive. Prints the reason if not. */
export async function health({ settings }: LoadedSettings): Promise<ExitCode> {
  const reason = await unhealthy(settings);
  if (reason !== undefined) printAside(`pierhead: ${reason}\n`);
  return reason === undefined ? 0 : 1;
}

/** Why the server is not alive; undefined: it is. */
async function unhealthy(settings: Settings): Promise<string | undefined> {
  const { host, port } = settings.listen;
  const scheme = settings.tlsCert === undefined ? 'http' : 'https';
  const url = `${scheme}://${connectable(host)}:${port}/healthz`;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    // The certificate names the addresses of clients, not this one. The request holds no secrets.
    const asked =
      scheme === 'http' ? getPlain(url, { signal }) : getSecure(url, { signal, rejectUnauthorized: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode === 200 ? undefined : `${url} answered ${response.statusCode}`;
  } catch (error) {
    return `${url} does not answer: ${messageOf(error)}`;
  }
}

/** An address for a connection to a server that listens on `host`, which may mean all addresses. */
function connectable(host: string): string {
  if (host === '0.0.0.0' || host === '') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
