import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestEnded } from '../../events/events.ts';
import type { CacheStatus } from '../../mirror/answer/answers.ts';

/** Kinds of requests, as logs and metrics tell them apart. */
export type RequestKind =
  'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog' | 'health' | 'other';

/** One request and its answer, and what is to be told of them when they are over. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The address of the client, behind proxies that are trusted. */
  readonly client: string;
  readonly startedAt: number;
  /** The name of who asks, where accounts are asked for. */
  account?: string;
  kind: RequestKind;
  /** `docker.io/library/golang`, once known. */
  repository?: string;
  /** The tag or digest asked for. */
  reference?: string;
  cache: CacheStatus;
  /** Bytes of the body sent so far. */
  bytes: number;
  /** What the answer depends on besides its target: its `Vary`, errors included. */
  vary?: string;
  /** What `?ns=` asked for, to be confirmed by `OCI-Namespace`. */
  namespace?: string;
}

/** True for the request of a HEAD, which gets headers only. */
export function isHead(exchange: Exchange): boolean {
  return exchange.request.method === 'HEAD';
}

/** True unless the request is a write, which this server knows none of. */
export function isRead(exchange: Exchange): boolean {
  return exchange.request.method === 'GET' || isHead(exchange);
}

/** The status of the answer; 499, as nginx has it, if the client left before there was one. */
export function answerStatus({ response }: Exchange): number {
  return response.headersSent ? response.statusCode : 499;
}

/** What is told of an exchange that is over. */
export function requestEnded(exchange: Exchange): RequestEnded {
  const { request, response, client, account, kind, repository, reference, cache, bytes } = exchange;
  return {
    client,
    account,
    method: request.method,
    kind,
    repository,
    reference,
    status: answerStatus(exchange),
    cache,
    bytes,
    durationMs: performance.now() - exchange.startedAt,
    isAborted: !response.writableFinished,
    userAgent: request.headers['user-agent'],
  };
}

/** Confirms `?ns=`, where it was asked for (OCI distribution-spec, "Registry Proxying"). */
export function namespaceHeader({ namespace }: Exchange): { readonly 'OCI-Namespace'?: string } {
  return namespace === undefined ? {} : { 'OCI-Namespace': namespace };
}

/** Sends a whole answer at once; a HEAD gets the same headers and no body. */
export function sendBytes(
  exchange: Exchange,
  status: number,
  options: { headers: Record<string, string | number>; body: Buffer },
): void {
  const { response } = exchange;
  response.writeHead(status, { ...options.headers, 'Content-Length': options.body.length });
  if (isHead(exchange)) {
    response.end();
    return;
  }
  exchange.bytes += options.body.length;
  response.end(options.body);
}
