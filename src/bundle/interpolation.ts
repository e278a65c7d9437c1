/** A variable that has no value where one is needed. */
export class UnsetVariableError extends Error {
  override readonly name = 'UnsetVariableError';
  readonly code = 'variable-unset';
}

export interface InterpolationOptions {
  readonly variables: (name: string) => string | undefined;
  /** What stands for a dollar sign itself: `$$` in Compose files, `\$` in Dockerfiles. */
  readonly escape: '$$' | '\\$';
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const OPERATOR = /^:?[-+?]/;
/** Defaults inside defaults. */
const MAX_DEPTH = 20;

/**
 * `text` with `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:+other}`, `${NAME+other}`, `${NAME:?why}` and
 * `${NAME?why}` replaced, as shells do (POSIX.1, 2.6.2 "Parameter Expansion"). Throws UnsetVariableError.
 */
export function interpolate(text: string, options: InterpolationOptions): string {
  return new Interpolation(text, options).rest(0);
}

class Interpolation {
  readonly #text: string;
  readonly #options: InterpolationOptions;
  #at = 0;

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
      return this.#required(name);
    }
    this.#at++;
    const [name = ''] = NAME.exec(this.#text.slice(this.#at)) ?? [];
    this.#at += name.length;
    const [operator = ''] = OPERATOR.exec(this.#text.slice(this.#at)) ?? [];
    this.#at += operator.length;
    if (depth >= MAX_DEPTH) throw new UnsetVariableError('there are too many braces inside of braces');
    // A default that is not used may name what is not set.
    const word = this.#deferred(depth + 1);
    if (name === '' || this.#text[this.#at] !== '}') throw new UnsetVariableError('a ${ is not closed by }');
    this.#at++;
    return this.#value(name, operator, word);
  }

  #deferred(depth: number): () => string {
    try {
      const word = this.rest(depth);
      return () => word;
    } catch (error) {
      if (!(error instanceof UnsetVariableError)) throw error;
      this.#skip();
      return () => {
        throw error;
      };
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
        throw new UnsetVariableError(`${name} is not set${word() === '' ? '' : `: ${word()}`}`);
      default:
        // Builders cut and replace by `${NAME%…}` and the like; half of that would be another image.
        if (word() !== '') throw new UnsetVariableError(`what becomes of ${name} by ${word()} is not known`);
        return this.#required(name);
    }
  }

  #required(name: string): string {
    const value = this.#options.variables(name);
    if (value === undefined) throw new UnsetVariableError(`${name} is not set and has no default`);
    return value;
  }
}
