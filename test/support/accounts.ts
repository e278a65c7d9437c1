import { hashSync } from 'bcryptjs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** An account and what it shows. */
export interface TestAccount {
  readonly name: string;
  readonly password: string;
}

/** `htpasswd -B` with the least work that it allows, as a line of the file. */
export function htpasswdLine({ name, password }: TestAccount, cost = 4): string {
  return `${name}:${hashSync(password, cost)}\n`;
}

/** Writes a file of accounts to a folder, and gives its path. */
export async function accountsFile(folder: string, name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

/** An `Authorization` header with a user name and password (RFC 7617). */
export function basic({ name, password }: TestAccount): readonly (readonly [string, string])[] {
  return [['Authorization', `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`]];
}

export function bearer(token: string): readonly (readonly [string, string])[] {
  return [['Authorization', `Bearer ${token}`]];
}
