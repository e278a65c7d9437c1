import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { Proxy } from './proxies.ts';

/** A proxy does not connect us; `message` says what it does instead, as half a sentence. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  readonly code = 'ERR_PROXY';
}

/** A way through `proxy` to `target`, `host:port`, over `link`, a connection to it (RFC 9110 section 9.3.6). Throws ProxyError. */
export function openTunnel(link: Socket, proxy: Proxy, target: string): Promise<Socket> {
  const { authorization } = proxy;
  return new Promise((resolve, reject) => {
    const asked = request({
      method: 'CONNECT',
      path: target,
      createConnection: () => link,
      insecureHTTPParser: false,
      headers: {
        host: target,
        connection: 'keep-alive',
        'proxy-connection': 'keep-alive',
        ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
      },
    });
    asked.once('connect', ({ statusCode = 0 }, _socket, head: Buffer) => {
      // Nobody behind a tunnel speaks first: TLS is the client's to begin.
      if (statusCode >= 200 && statusCode < 300 && head.length === 0) resolve(link);
      else reject(new ProxyError(`it answered ${statusCode}`));
    });
    asked.on('error', (cause: NodeJS.ErrnoException) => {
      const what = cause.code?.startsWith('HPE_')
        ? 'it sent something that is not HTTP'
        : 'it closed the connection';
      reject(new ProxyError(what, { cause }));
    });
    asked.end();
  });
}
