import { bytesBody, type Body } from './content.ts';
import type { FaultAction } from './faults.ts';
import type { LoggedRequest } from './log.ts';

/** What a server of the stand-in wants to say, before faults and before the method HEAD takes the body away. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
  /** The part of `body` that goes out; without it, all. `end` is exclusive. */
  readonly range?: { readonly start: number; readonly end: number };
}

const NO_BODY = bytesBody(Buffer.alloc(0));

export function emptyAnswer(status: number, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, headers: { 'content-length': '0', ...headers }, body: NO_BODY };
}

export function bytesAnswer(
  status: number,
  bytes: string | Buffer,
  headers: Readonly<Record<string, string>>,
): Answer {
  const body = bytesBody(Buffer.from(bytes));
  return { status, headers: { 'content-length': String(body.size), ...headers }, body };
}

/** As Go's `http.Redirect` has it, which registries of the distribution project use: with a page for people. */
export function redirectAnswer(location: string, headers: Readonly<Record<string, string>>): Answer {
  const page = `<a href="${location.replaceAll('&', '&amp;')}">Temporary Redirect</a>.\n\n`;
  return bytesAnswer(307, page, { ...headers, 'content-type': 'text/html; charset=utf-8', location });
}

export function jsonAnswer(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return bytesAnswer(status, JSON.stringify(value), { 'content-type': 'application/json', ...headers });
}

export interface ErrorDetails {
  readonly detail?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error as the distribution-spec has it ("Error Codes"). */
export function errorAnswer(
  status: number,
  error: { readonly code: string; readonly message: string },
  details: ErrorDetails = {},
): Answer {
  const { detail, headers } = details;
  return jsonAnswer(
    status,
    { errors: [{ ...error, ...(detail === undefined ? {} : { detail }) }] },
    headers ?? {},
  );
}

const PORTAL = '<!DOCTYPE html><html><body>Please log in to the network</body></html>';

/** The answer that a fault puts in place of the true one, if it does. */
export function answerByFault(action: FaultAction, request: LoggedRequest): Answer | undefined {
  if (action.status !== undefined) {
    const { code, body = '', headers = {} } = action.status;
    return bytesAnswer(code, body, headers);
  }
  if (action.abuseLimit !== undefined) {
    const { retryAfterSeconds } = action.abuseLimit;
    const retry = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
    return bytesAnswer(429, 'Too Many Requests\n', { 'content-type': 'text/plain', ...retry });
  }
  if (action.html) return bytesAnswer(200, PORTAL, { 'content-type': 'text/html' });
  if (action.redirectTo !== undefined) return emptyAnswer(307, { location: action.redirectTo });
  if (action.headMethodNotAllowed && request.method === 'HEAD') return emptyAnswer(405, { allow: 'GET' });
  if (action.refuseRange !== undefined && request.headers.range !== undefined) {
    return emptyAnswer(action.refuseRange);
  }
  if (action.hugeBody !== undefined) return hugeAnswer(action.hugeBody);
  return undefined;
}

function hugeAnswer(size: number): Answer {
  const spaces = Buffer.alloc(Math.min(size, 1024 * 1024), ' ');
  const body: Body = {
    size,
    reader: () => (_offset, length) => spaces.subarray(0, Math.min(length, spaces.length)),
  };
  return { status: 200, headers: { 'content-type': 'application/json' }, body };
}

/** The true answer with its headers and its length as a fault wants them. */
export function bendAnswer(answer: Answer, action: FaultAction): Answer {
  const headers = { ...answer.headers };
  const start = answer.range?.start ?? 0;
  let end = answer.range?.end ?? answer.body.size;
  if (action.truncate !== undefined) {
    end = Math.min(end, start + action.truncate.toBytes);
    if (action.truncate.contentLength === 'short') headers['content-length'] = String(end - start);
    else delete headers['content-length'];
  }
  if (action.noContentLength) delete headers['content-length'];
  if (action.contentEncoding !== undefined) headers['content-encoding'] = action.contentEncoding;
  if (action.noDigestHeader) delete headers['docker-content-digest'];
  if (action.wrongDigestHeader) headers['docker-content-digest'] = `sha256:${'0'.repeat(64)}`;
  return { ...answer, headers, range: { start, end } };
}
