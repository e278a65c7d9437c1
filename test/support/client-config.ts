import { readFile } from 'node:fs/promises';

const FOLDER = new URL('../../config/clients/', import.meta.url);
const EXAMPLE = 'pierhead.example.net:5000';

/** What a user copies from `config/clients/` to point a client at Pierhead, with `host:port` in the example's place. */
export async function clientConfig(file: string, host: string): Promise<string> {
  const text = await readFile(new URL(file, FOLDER), 'utf8');
  if (!text.includes(EXAMPLE)) throw new Error(`config/clients/${file} does not name ${EXAMPLE}`);
  return text.replaceAll(EXAMPLE, host);
}
