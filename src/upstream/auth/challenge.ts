/** A way to authenticate (RFC 9110 section 11.6.1). Names are in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly token68: string | undefined;
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const SEPARATORS = /[ \t,]*/y;
/**
 * An unterminated quoted value takes the rest of the line. An unquoted value may hold characters that RFC 9110
 * requires to be quoted.
 */
const PARAMETER = new RegExp(
  String.raw`(${TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)(?:"|\\?$)|([^\s,"=][^\s,"]*))`,
  'ys',
);

const SCHEME = new RegExp(`(${TOKEN})(?:[ \\t]+|(?=,|$))`, 'y');
const TOKEN68 = /([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)/y;
const JUNK = /[^,]+/y;

/**
 * The challenges of `WWW-Authenticate` lines, in order. Malformed parts are left out; of a repeated parameter the
 * first counts. Never throws.
 */
export function parseChallenges(lines: readonly string[]): Challenge[] {
  return lines.flatMap(parseLine);
}

function parseLine(line: string): Challenge[] {
  const challenges: Challenge[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = position;
    const match = pattern.exec(line) ?? undefined;
    if (match !== undefined) position = pattern.lastIndex;
    return match;
  };
  let parameters: Map<string, string> | undefined;
  for (;;) {
    take(SEPARATORS);
    if (position === line.length) return challenges;
    const parameter = parameters === undefined ? undefined : take(PARAMETER);
    if (parameters !== undefined && parameter !== undefined) {
      addParameter(parameters, parameter);
      continue;
    }
    const scheme = take(SCHEME)?.[1]?.toLowerCase();
    if (scheme === undefined) {
      take(JUNK);
      continue;
    }
    parameters = new Map();
    const token68 = take(TOKEN68)?.[1];
    challenges.push({ scheme, parameters, token68 });
  }
}

function addParameter(parameters: Map<string, string>, match: RegExpExecArray): void {
  const name = (match[1] ?? '').toLowerCase();
  const value = match[2] === undefined ? (match[3] ?? '') : match[2].replaceAll(/\\(.)/gs, '$1');
  if (!parameters.has(name)) parameters.set(name, value);
}
