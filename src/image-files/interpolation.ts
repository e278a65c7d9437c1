/** A text whose variables cannot be replaced: one is required and not set, or a brace is not closed. */
export class InterpolationError extends Error {
  override readonly name = 'InterpolationError';
  readonly code = 'not-interpolated';
}

export interface InterpolationOptions {
  readonly variables: (name: string) => string | undefined;
  /** Told of each variable that is not set and is replaced by nothing, as builders and Compose do. */
  readonly onUnset?: (name: string) => void;
  /** What stands for a dollar sign itself: `$$` in Compose files, `\$` in Dockerfiles. */
  readonly escape: '$$' | '\\$';
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const OPERATOR = /^:?[-+?]/;
/** Defaults inside defaults. */
const MAX_DEPTH = 20;

/**
 * `text` with `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:+other}`, `${NAME+other}`, `${NAME:?why}` and
 * `${NAME?why}` replaced, as shells do (POSIX.1, 2.6.2 "Parameter Expansion"). Throws InterpolationError.
 */
export function interpolate(text: string, options: InterpolationOptions): string {
  const interpolation = new Interpolation(text, options);
  const result = interpolation.rest(0);
  for (const name of interpolation.unset) options.onUnset?.(name);
  return result;
}

class Interpolation {
  readonly #text: string;
  readonly #options: InterpolationOptions;
  #at = 0;
  /** The variables that are not set among those that count. */
  unset = new Set<string>();

  constructor(text: string, options: InterpolationOptions) {
    this.#text = text;
    this.#options = options;
  }

  /** What follows, up to the end or, inside of braces, to the one that closes them. */
  rest(depth: number): string {
    let result = '';
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at] ?? '';
      if (character === '}' && depth > 0) break;
      if (this.#text.startsWith(this.#options.escape, this.#at)) {
        result += '$';
        this.#at += 2;
      } else if (character === '$') result += this.#variable(depth);
      else {
        result += character;
        this.#at++;
      }
    }
    return result;
  }

  #variable(depth: number): string {
    this.#at++;
    if (this.#text[this.#at] !== '{') {
      const [name] = NAME.exec(this.#text.slice(this.#at)) ?? [];
      if (name === undefined) return '$';
      this.#at += name.length;
      return this.#plain(name);
    }
    this.#at++;
    const [name = ''] = NAME.exec(this.#text.slice(this.#at)) ?? [];
    this.#at += name.length;
    const [operator = ''] = OPERATOR.exec(this.#text.slice(this.#at)) ?? [];
    this.#at += operator.length;
    if (depth >= MAX_DEPTH) throw new InterpolationError('there are too many braces inside of braces');
    // A default that is not used may require what is not set.
    const word = this.#deferred(depth + 1);
    if (name === '' || this.#text[this.#at] !== '}') throw new InterpolationError('a ${ is not closed by }');
    this.#at++;
    return this.#value(name, operator, word);
  }

  #deferred(depth: number): () => string {
    const outside = this.unset;
    const inside = new Set<string>();
    this.unset = inside;
    try {
      const word = this.rest(depth);
      return () => {
        for (const name of inside) this.unset.add(name);
        return word;
      };
    } catch (error) {
      if (!(error instanceof InterpolationError)) throw error;
      this.#skip();
      return () => {
        throw error;
      };
    } finally {
      this.unset = outside;
    }
  }

  /** Goes to the brace that closes. */
  #skip(): void {
    for (let open = 0; this.#at < this.#text.length; this.#at++) {
      const character = this.#text[this.#at];
      if (character === '{') open++;
      else if (character === '}' && open-- === 0) return;
    }
  }

  #value(name: string, operator: string, word: () => string): string {
    const value = this.#options.variables(name);
    const isThere = value !== undefined && !(operator.startsWith(':') && value === '');
    switch (operator.at(-1)) {
      case '-':
        return isThere ? value : word();
      case '+':
        return isThere ? word() : '';
      case '?':
        if (isThere) return value;
        throw new InterpolationError(`${name} is not set${word() === '' ? '' : `: ${word()}`}`);
      default:
        // Builders cut and replace by `${NAME%…}` and the like; half of that would be another image.
        if (word() !== '') throw new InterpolationError(`what becomes of ${name} by ${word()} is not known`);
        return this.#plain(name);
    }
  }

  #plain(name: string): string {
    const value = this.#options.variables(name);
    if (value === undefined) this.unset.add(name);
    return value ?? '';
  }
}

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
