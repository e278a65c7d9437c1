/** A required variable is not set, or the syntax is wrong. */
export class InterpolationError extends Error {
  override readonly name = 'InterpolationError';
  readonly code = 'not-interpolated';
}

export interface InterpolationOptions {
  readonly variables: (name: string) => string | undefined;
  /** Called for each unset variable: builders and Compose replace it by nothing. */
  readonly onUnset?: (name: string) => void;
  /** The escaped dollar sign: `$$` in Compose files, `\$` in Dockerfiles. */
  readonly escape: '$$' | '\\$';
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const OPERATOR = /^:?[-+?]/;
/** Deepest nesting of braces. */
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
  /** Unset variables, without those in defaults that are not used. */
  unset = new Set<string>();

  constructor(text: string, options: InterpolationOptions) {
    this.#text = text;
    this.#options = options;
  }

  /** Expands up to the end of the text or, inside braces, to the closing brace. */
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
    if (depth >= MAX_DEPTH) throw new InterpolationError(`more than ${MAX_DEPTH} braces inside each other`);
    // The error of a default counts only if the default is used.
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

  /** Moves to the closing brace. */
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
        // Builders cut and replace with `${NAME%…}` and others. To ignore the operator would name another image.
        if (word() !== '') throw new InterpolationError(`unknown expansion of ${name}: ${word()}`);
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
 * The variables of an `.env` file as Compose reads it: `KEY=value` lines, quotes, `#` comments. Values without single quotes
 * may refer to `variables` and to earlier lines. Other lines are ignored.
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
