import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import type { Certificate } from '../support/certificates.ts';

/** The names that one server goes by: that of the registry, of the token service and of the host of blobs. */
export const HTTPS_NAMES = ['registry.test', 'auth.test', 'blobs.test'] as const;

export interface HttpsHubOptions {
  readonly certificate: Certificate;
  /** Default `https`; anything else is a trap. */
  readonly realmScheme?: 'http';
  readonly redirectScheme?: 'http';
}

/** The least of a registry over TLS, with tokens and redirects. Its names lead nowhere without a proxy. */
export interface HttpsHub {
  /** `https://registry.test:<port>` */
  readonly url: string;
  readonly port: number;
  /** A blob of 5 MB. */
  readonly blob: { readonly digest: Digest; readonly size: number };
  /** Host name and Authorization of each request. */
  readonly seen: readonly (readonly [name: string, authorization: string | undefined])[];
}

const BLOB = Buffer.alloc(5_000_000, 'pierhead');
const TOKEN = 'a-token-of-the-https-hub';

/** A server on 127.0.0.1 that closes with the running test. */
export async function startHttpsHub(options: HttpsHubOptions): Promise<HttpsHub> {
  const { certificate, realmScheme = 'https', redirectScheme = 'https' } = options;
  const seen: (readonly [string, string | undefined])[] = [];
  const server = createServer({ cert: certificate.cert, key: certificate.key });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const challenge = `Bearer realm="${realmScheme}://auth.test:${port}/token",service="test"`;
  const location = `${redirectScheme}://blobs.test:${port}/blob?sig=1`;
  server.on('request', ({ headers }: IncomingMessage, response: ServerResponse) => {
    const name = headers.host?.split(':')[0] ?? '';
    seen.push([name, headers.authorization]);
    if (name === 'auth.test') response.end(JSON.stringify({ token: TOKEN }));
    else if (name === 'blobs.test') response.end(BLOB);
    else if (headers.authorization === `Bearer ${TOKEN}`) response.writeHead(307, { location }).end();
    else response.writeHead(401, { 'www-authenticate': challenge }).end();
  });
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `https://registry.test:${port}`,
    port,
    blob: { digest: digestOf(BLOB), size: BLOB.length },
    seen,
  };
}
