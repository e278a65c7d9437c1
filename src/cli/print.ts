import { visible } from '../lib/visible-text.ts';

/** Prints a result. Parts of it are by registries, bundles and files of others, and a terminal obeys what it is sent. */
export function print(text: string): void {
  process.stdout.write(visible(text));
}

/** Prints what is not part of the result. */
export function printAside(text: string): void {
  process.stderr.write(visible(text));
}
