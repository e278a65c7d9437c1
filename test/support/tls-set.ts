import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTlsSet } from '../../src/setup/certificates.ts';
import { tempFolder, type TempFolder } from './temp.ts';

/** Certificates for loopback in files, and what is in them. */
export interface TestTls {
  readonly folder: TempFolder;
  /** PEM. */
  readonly ca: string;
  readonly client: { readonly cert: string; readonly key: string };
  readonly server: { readonly cert: string; readonly key: string };
  /** Paths, for the settings. */
  readonly paths: {
    readonly ca: string;
    readonly serverCert: string;
    readonly serverKey: string;
    readonly clientCert: string;
    readonly clientKey: string;
  };
}

/** A new authority with a server's and a client's certificate of it. */
export async function writeTlsSet(hosts: readonly string[] = ['localhost', '127.0.0.1']): Promise<TestTls> {
  const folder = await tempFolder();
  const texts = new Map(createTlsSet(hosts, new Date()).map(({ name, text }) => [name, text]));
  const path = (name: string): string => join(folder.path, name);
  for (const [name, text] of texts) await writeFile(path(name), text);
  const text = (name: string): string => texts.get(name) ?? '';
  return {
    folder,
    ca: text('ca.crt'),
    client: { cert: text('client.crt'), key: text('client.key') },
    server: { cert: text('server.crt'), key: text('server.key') },
    paths: {
      ca: path('ca.crt'),
      serverCert: path('server.crt'),
      serverKey: path('server.key'),
      clientCert: path('client.crt'),
      clientKey: path('client.key'),
    },
  };
}
