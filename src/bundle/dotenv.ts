import { interpolate } from './interpolation.ts';

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]\s*(.*)$/s;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/**
 * The variables of an `.env` file as Compose reads it: `KEY=value` lines, quotes, `#` comments; values that are not in
 * single quotes may refer to `variables` and to what comes before. What is no assignment is left out.
 */
export function parseDotenv(
  text: string,
  variables: (name: string) => string | undefined,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const known = (name: string): string => variables(name) ?? values.get(name) ?? '';
  for (const line of text.split(/\r?\n/)) {
    const [, name, rest = ''] = ASSIGNMENT.exec(line) ?? [];
    if (name !== undefined) values.set(name, valueOf(rest.trim(), known));
  }
  return values;
}

function valueOf(text: string, variables: (name: string) => string): string {
  const [, literal] = /^'([^']*)'/.exec(text) ?? [];
  if (literal !== undefined) return literal;
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"/.exec(text) ?? [];
  const value =
    quoted === undefined
      ? text.replace(/(^|\s)#.*$/s, '').trimEnd()
      : quoted.replaceAll(/\\(.)/g, (_, character: string) => ESCAPES[character] ?? `\\${character}`);
  const spelt = quoted === undefined ? value : value.replaceAll(/\\(["\\])/g, '$1');
  return interpolate(spelt, { variables, escape: '\\$' });
}
