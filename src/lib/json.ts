/** A member of an object that the shape names. */
export interface JsonMember {
  readonly name: string;
  readonly bytes: Buffer;
  readonly shape: JsonShape;
}

/** Which parts of a value are built. Scalars always are; lists and objects as far as the shape says. */
export interface JsonShape {
  readonly members: readonly JsonMember[];
  /** Undefined: a list is built empty. */
  readonly items: JsonShape | undefined;
  /** A longer list is an error; without `items` the length is not limited. */
  readonly maxItems: number;
}

/** Scalars; a list or object is built empty. */
export const SCALAR: JsonShape = { members: [], items: undefined, maxItems: Infinity };

/** The bytes of the value, unparsed. */
export const VERBATIM: JsonShape = { members: [], items: undefined, maxItems: Infinity };

/** An object with these members. */
export function objectOf(members: Readonly<Record<string, JsonShape>>): JsonShape {
  const named = Object.entries(members).map(([name, shape]): JsonMember => {
    return { name, bytes: Buffer.from(name, 'latin1'), shape };
  });
  return { members: named, items: undefined, maxItems: Infinity };
}

/** A list of at most `maxItems` items. */
export function listOf(items: JsonShape, maxItems = Infinity): JsonShape {
  return { members: [], items, maxItems };
}

/** Limits on a JSON text. The cost of building it depends on these numbers, not on its length. */
export interface JsonLimits {
  /** Nesting of lists and objects. */
  readonly maxDepth: number;
  /** Number of scalars, lists and objects. */
  readonly maxValues: number;
  /** Number of members of all objects. */
  readonly maxKeys: number;
}

/**
 * `malformed`: not JSON (RFC 8259). `too-large`: over a limit. The message follows a name ("… is not JSON") and
 * quotes nothing.
 */
export class JsonError extends Error {
  override readonly name = 'JsonError';
  readonly code: 'malformed' | 'too-large';

  constructor(code: JsonError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const [QUOTE = 0, BACKSLASH = 0, COMMA = 0, COLON = 0, MINUS = 0, PLUS = 0, DOT = 0, ZERO = 0, NINE = 0] =
  Buffer.from('"\\,:-+.09');
const [OBJECT = 0, OBJECT_END = 0, LIST = 0, LIST_END = 0, UPPER_E = 0, LOWER_E = 0, LOWER_U = 0] =
  Buffer.from('{}[]Eeu');
const [SPACE = 0, TAB = 0, LINE_FEED = 0, RETURN = 0] = Buffer.from(' \t\n\r');
const FIRST_PRINTABLE = 0x20;
const FIRST_NON_ASCII = 0x80;
/** A text with escapes counts as this many values, because it takes that much longer. */
const ESCAPED_TEXT_VALUES = 5;
const [TRUE, FALSE, NULL] = [Buffer.from('true'), Buffer.from('false'), Buffer.from('null')];
/** The character after a backslash, and the one that it means. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'].map((pair) => [
    pair.charCodeAt(0),
    pair.charCodeAt(1),
  ]),
);

/**
 * Reads JSON as `JSON.parse` does, but builds only what a shape names. The dear part of JSON is objects of many
 * different members, some microseconds each; those are never built.
 */
export class JsonReader {
  readonly #bytes: Buffer;
  readonly #limits: JsonLimits;
  #at = 0;
  #depth = 0;
  #values = 0;
  #keys = 0;

  constructor(bytes: Buffer, limits: JsonLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  /** The value of the text; undefined without a shape. Throws JsonError. */
  read(shape?: JsonShape): unknown {
    const value = this.#value(shape);
    if (this.#next() !== undefined) throw malformed();
    return shape === undefined ? undefined : value;
  }

  #value(shape: JsonShape | undefined): unknown {
    if (shape === VERBATIM) return this.#verbatim();
    this.#count(1);
    switch (this.#next()) {
      case QUOTE:
        return this.#text(shape);
      case OBJECT:
        return this.#object(shape);
      case LIST:
        return this.#list(shape);
      case TRUE[0]:
        return this.#literal(TRUE, true);
      case FALSE[0]:
        return this.#literal(FALSE, false);
      case NULL[0]:
        return this.#literal(NULL, null);
      default:
        return this.#number(shape);
    }
  }

  #verbatim(): Buffer {
    this.#next();
    const start = this.#at;
    this.#value(undefined);
    return this.#bytes.subarray(start, this.#at);
  }

  #count(values: number): void {
    this.#values += values;
    if (this.#values <= this.#limits.maxValues) return;
    throw new JsonError('too-large', `has more than ${this.#limits.maxValues} values`);
  }

  #object(shape: JsonShape | undefined): Record<string, unknown> | undefined {
    const object: Record<string, unknown> | undefined = shape === undefined ? undefined : {};
    this.#enter();
    if (this.#next() === OBJECT_END) return this.#leave(object);
    for (;;) {
      const member = this.#key(shape);
      if (this.#next() !== COLON) throw malformed();
      this.#at++;
      const value = this.#value(member?.shape);
      if (object !== undefined && member !== undefined) object[member.name] = value;
      const end = this.#next();
      if (end === OBJECT_END) return this.#leave(object);
      if (end !== COMMA) throw malformed();
      this.#at++;
    }
  }

  #list(shape: JsonShape | undefined): unknown[] | undefined {
    const list: unknown[] | undefined = shape === undefined ? undefined : [];
    this.#enter();
    if (this.#next() === LIST_END) return this.#leave(list);
    for (;;) {
      const item = this.#value(shape?.items);
      if (shape?.items !== undefined) list?.push(item);
      const maxItems = shape?.maxItems ?? Infinity;
      if (list !== undefined && list.length > maxItems) {
        throw new JsonError('too-large', `has a list of more than ${maxItems} items`);
      }
      const end = this.#next();
      if (end === LIST_END) return this.#leave(list);
      if (end !== COMMA) throw malformed();
      this.#at++;
    }
  }

  #enter(): void {
    this.#at++;
    if (++this.#depth > this.#limits.maxDepth) {
      throw new JsonError('too-large', `is nested more than ${this.#limits.maxDepth} deep`);
    }
  }

  #leave<T>(value: T): T {
    this.#at++;
    this.#depth--;
    return value;
  }

  #key(shape: JsonShape | undefined): JsonMember | undefined {
    if (++this.#keys > this.#limits.maxKeys) {
      throw new JsonError('too-large', `has more than ${this.#limits.maxKeys} keys`);
    }
    if (this.#next() !== QUOTE) throw malformed();
    const start = this.#at + 1;
    this.#skipText();
    if (shape === undefined) return undefined;
    for (const member of shape.members) if (this.#spells(start, member.bytes)) return member;
    return undefined;
  }

  /** Whether the well-formed text that begins at `start` equals `name`. */
  #spells(start: number, name: Buffer): boolean {
    const bytes = this.#bytes;
    let at = start;
    for (let index = 0; index < name.length; index++) {
      let code = bytes[at++];
      if (code === BACKSLASH) {
        const escaped = bytes[at++] ?? 0;
        code = escaped === LOWER_U ? hexCode(bytes, at) : ESCAPES.get(escaped);
        if (escaped === LOWER_U) at += 4;
      }
      // Names hold no quote, so the quote that ends the text matches none.
      if (code !== name[index]) return false;
    }
    return bytes[at] === QUOTE;
  }

  #text(shape: JsonShape | undefined): string | undefined {
    const start = this.#at;
    const { isAscii, isPlain } = this.#skipText();
    if (shape === undefined) return undefined;
    // A copy, so that a kept text does not hold the whole source in memory.
    if (!isPlain) {
      this.#count(ESCAPED_TEXT_VALUES - 1);
      return JSON.parse(this.#bytes.toString('utf8', start, this.#at)) as string;
    }
    return this.#bytes.toString(isAscii ? 'latin1' : 'utf8', start + 1, this.#at - 1);
  }

  #skipText(): { readonly isAscii: boolean; readonly isPlain: boolean } {
    const bytes = this.#bytes;
    let isAscii = true;
    let isPlain = true;
    let at = this.#at + 1;
    for (let code = bytes[at]; code !== QUOTE; code = bytes[++at]) {
      if (code === undefined || code < FIRST_PRINTABLE) throw malformed();
      if (code >= FIRST_NON_ASCII) isAscii = false;
      else if (code === BACKSLASH) {
        isPlain = false;
        const escaped = bytes[++at] ?? 0;
        if (escaped === LOWER_U) {
          if (hexCode(bytes, at + 1) === undefined) throw malformed();
          at += 4;
        } else if (!ESCAPES.has(escaped)) throw malformed();
      }
    }
    this.#at = at + 1;
    return { isAscii, isPlain };
  }

  #literal<T>(text: Buffer, value: T): T {
    const end = this.#at + text.length;
    if (text.compare(this.#bytes, this.#at, Math.min(end, this.#bytes.length)) !== 0) throw malformed();
    this.#at = end;
    return value;
  }

  #number(shape: JsonShape | undefined): number | undefined {
    const start = this.#at;
    if (this.#is(MINUS)) this.#at++;
    if (this.#is(ZERO)) this.#at++;
    else this.#digits();
    if (this.#is(DOT)) {
      this.#at++;
      this.#digits();
    }
    if (this.#is(UPPER_E) || this.#is(LOWER_E)) {
      this.#at++;
      if (this.#is(PLUS) || this.#is(MINUS)) this.#at++;
      this.#digits();
    }
    return shape === undefined ? undefined : Number(this.#bytes.toString('latin1', start, this.#at));
  }

  /** Reads one digit or more. */
  #digits(): void {
    const start = this.#at;
    while (isDigit(this.#bytes[this.#at])) this.#at++;
    if (this.#at === start) throw malformed();
  }

  #is(code: number): boolean {
    return this.#bytes[this.#at] === code;
  }

  /** Skips white space and returns the next byte; undefined at the end. */
  #next(): number | undefined {
    const bytes = this.#bytes;
    let at = this.#at;
    let code = bytes[at];
    while (code === SPACE || code === LINE_FEED || code === RETURN || code === TAB) code = bytes[++at];
    this.#at = at;
    return code;
  }
}

function malformed(): JsonError {
  return new JsonError('malformed', 'is not JSON');
}

function isDigit(code: number | undefined): boolean {
  return code !== undefined && code >= ZERO && code <= NINE;
}

/** The number of four hex digits; undefined if they are not hex digits. */
function hexCode(bytes: Buffer, start: number): number | undefined {
  let code = 0;
  for (let at = start; at < start + 4; at++) {
    const digit = bytes[at] ?? 0;
    const letter = digit | 0x20;
    if (isDigit(digit)) code = code * 16 + digit - ZERO;
    else if (letter >= 0x61 && letter <= 0x66) code = code * 16 + letter - 0x61 + 10;
    else return undefined;
  }
  return code;
}

/** Far above any record, answer or request of a few fields. Building all of it takes at most about 10 ms. */
const SMALL_JSON: JsonLimits = { maxDepth: 32, maxValues: 10_000, maxKeys: 5000 };

/** For messages of another Pierhead process: a command may name any number of images. */
export const OWN_JSON: JsonLimits = { maxDepth: 32, maxValues: 3_000_000, maxKeys: 3_000_000 };

/**
 * `JSON.parse` for untrusted input: nothing is built unless the whole text is within the limits. Throws JsonError,
 * which quotes nothing.
 */
export function parseJson(source: Buffer | string, limits: JsonLimits = SMALL_JSON): unknown {
  new JsonReader(typeof source === 'string' ? Buffer.from(source) : source, limits).read();
  return JSON.parse(typeof source === 'string' ? source : source.toString('utf8'));
}
