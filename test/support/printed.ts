import type { ChildProcess } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where all end-to-end tests of a run put what Pierhead printed, and which secrets they used; see vitest.config.ts. */
const FOLDER = process.env['PIERHEAD_TEST_PRINTED'];
const PRINTED = 'printed';
const SECRETS = 'secrets';

/** Notes what a program has written, if it is Pierhead: nothing else here runs on Node. */
export function notePrinted(child: ChildProcess, text: string): void {
  if (child.spawnfile === process.execPath) noteOutput(text);
}

/** Notes what Pierhead has written that another program has passed on, such as Docker's. */
export function noteOutput(text: string): void {
  if (FOLDER !== undefined) appendFileSync(join(FOLDER, PRINTED), text);
}

/** Notes secrets that were used: none of them may be printed, plainly or in the encodings that HTTP knows. */
export function noteSecrets(secrets: readonly string[]): void {
  if (FOLDER !== undefined) appendFileSync(join(FOLDER, SECRETS), JSON.stringify(secrets).concat('\n'));
}

export interface Printed {
  readonly lines: readonly string[];
  readonly secrets: readonly string[];
}

/** All of it. */
export function readPrinted(): Printed {
  const read = (name: string): string => {
    const path = join(FOLDER ?? '', name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  };
  const used = read(SECRETS)
    .split('\n')
    .filter(Boolean)
    .flatMap((line) => JSON.parse(line) as string[]);
  const secrets = used.flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ]);
  return { lines: read(PRINTED).split('\n'), secrets: [...new Set(secrets)] };
}
