/** The head of an answer as it came over the wire. */
export interface RawHead {
  /** E.g. `HTTP/1.1`. */
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  /** Names as sent, in the order sent, repeated lines kept apart. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

const HEAD_END = Buffer.from('\r\n\r\n');

/** All values of a header, in the order sent; `name` in any case. */
export function headerLines(head: RawHead, name: string): string[] {
  const wanted = name.toLowerCase();
  return head.headers.filter(([key]) => key.toLowerCase() === wanted).map(([, value]) => value);
}

/** Splits an answer into head and body (RFC 9112); nothing is corrected, so that tests see what was sent. */
export class HttpDecoder {
  head: RawHead | undefined;
  /** The body has come to the end that its framing announced; one without framing ends with the connection. */
  complete = false;
  readonly #isHead: boolean;
  readonly #onBody: (chunk: Buffer) => void;
  #pending: Buffer = Buffer.alloc(0);
  /** Body bytes until the body or, if chunked, the chunk ends. */
  #left = 0;
  #framing: 'length' | 'chunked' | 'connection' = 'length';

  constructor(options: { readonly method: string; readonly onBody: (chunk: Buffer) => void }) {
    this.#isHead = options.method === 'HEAD';
    this.#onBody = options.onBody;
  }

  /** Takes bytes as they come; throws if they break the framing. */
  push(bytes: Buffer): void {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    while (this.head === undefined) {
      const end = this.#pending.indexOf(HEAD_END);
      if (end < 0) return;
      const head = parseHead(this.#pending.toString('latin1', 0, end));
      this.#pending = this.#pending.subarray(end + HEAD_END.length);
      if (head.status >= 200) this.#begin(head);
    }
    if (this.#framing === 'chunked') this.#pushChunked();
    else this.#pushPlain();
  }

  /** The connection is over; true if that is where the body ends. */
  finish(): boolean {
    if (this.#framing === 'connection' && this.head !== undefined) this.complete = true;
    return this.complete;
  }

  #begin(head: RawHead): void {
    this.head = head;
    const [length] = headerLines(head, 'content-length');
    const bodiless = this.#isHead || head.status === 204 || head.status === 304;
    if (bodiless) this.complete = true;
    else if (/chunked/i.test(headerLines(head, 'transfer-encoding').join())) this.#framing = 'chunked';
    else if (length === undefined) this.#framing = 'connection';
    else this.#left = Number(length);
    if (this.#framing === 'length' && this.#left === 0) this.complete = true;
  }

  #pushPlain(): void {
    const bytes = this.#pending;
    if (bytes.length === 0) return;
    this.#pending = Buffer.alloc(0);
    if (this.#framing === 'length') {
      if (bytes.length > this.#left) throw new Error('bytes after the end of the answer');
      this.#left -= bytes.length;
      if (this.#left === 0) this.complete = true;
    }
    this.#onBody(bytes);
  }

  #pushChunked(): void {
    while (!this.complete && this.#pending.length > 0) {
      if (this.#left === 0 && !this.#beginChunk()) return;
      const chunk = this.#pending.subarray(0, this.#left);
      this.#pending = this.#pending.subarray(chunk.length);
      this.#left -= chunk.length;
      if (chunk.length > 0) this.#onBody(chunk);
    }
  }

  /** Reads a line with the size of a chunk, and the line end of the chunk before; false if more must come. */
  #beginChunk(): boolean {
    const match = /^(?:\r\n)?([0-9a-fA-F]+)\r\n/.exec(this.#pending.toString('latin1', 0, 32));
    if (match === null) {
      if (this.#pending.length >= 32) throw new Error('not a chunk size');
      return false;
    }
    const size = Number.parseInt(match[1] ?? '', 16);
    const used = match[0].length + (size === 0 ? 2 : 0);
    if (this.#pending.length < used) return false;
    this.#pending = this.#pending.subarray(used);
    this.#left = size;
    this.complete = size === 0;
    return true;
  }
}

function parseHead(text: string): RawHead {
  const [statusLine = '', ...lines] = text.split('\r\n');
  const [version = '', status = '', ...reason] = statusLine.split(' ');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return { version, status: Number(status), reason: reason.join(' '), headers };
}
