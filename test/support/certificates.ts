import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './commands.ts';
import { testFolder } from './temp.ts';

/** A certificate that nobody trusts until told to, with its key. PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** Where `cert` is, until the running test ends. */
  readonly path: string;
}

/** A certificate for these host names, signed by itself. */
export async function selfSigned(names: readonly string[]): Promise<Certificate> {
  const folder = await testFolder();
  const path = join(folder, 'cert.pem');
  const keyPath = join(folder, 'key.pem');
  const alternatives = names.map((name) => `DNS:${name}`).join(',');
  await run({
    program: 'openssl',
    args: [
      'req',
      '-x509',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=pierhead-test',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-addext',
      `subjectAltName=${alternatives}`,
      '-keyout',
      keyPath,
      '-out',
      path,
    ],
  });
  return { cert: await readFile(path, 'utf8'), key: await readFile(keyPath, 'utf8'), path };
}
