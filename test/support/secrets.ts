import type { LoggedRequest } from '../fake/log.ts';
import { noteSecrets } from './printed.ts';

export { noteSecrets } from './printed.ts';

/** Short values, such as the expiry date in a signed URL, are no secrets and may occur by chance. */
const MIN_CHARACTERS = 16;

/** Credentials, tokens and signatures that these requests carried. */
export function secretsOf(requests: readonly LoggedRequest[]): string[] {
  const found = requests.flatMap(({ host, headers, query }) => {
    const [scheme = '', ...credentials] = headers.authorization?.split(' ') ?? [];
    if (scheme.toLowerCase() === 'basic') credentials.push(...credentials.map(passwordOf));
    // The token service is asked for scopes, which are no secrets.
    const signed = host === 'blobs' ? [...query.values()] : [];
    return [...credentials, ...signed];
  });
  return [...new Set(found)].filter((secret) => secret.length >= MIN_CHARACTERS);
}

function passwordOf(basic: string): string {
  return Buffer.from(basic, 'base64')
    .toString('utf8')
    .replace(/^[^:]*:/, '');
}

/** Throws if `text` holds one of `secrets`, and shows the line. They are also looked for at the end of the run. */
export function checkNothingSecret(text: string, secrets: readonly string[]): void {
  noteSecrets(secrets);
  for (const line of text.split('\n')) {
    if (secrets.some((secret) => line.includes(secret)))
      throw new Error(`something secret was printed: ${line}`);
  }
}
