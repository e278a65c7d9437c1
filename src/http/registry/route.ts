import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import type { Tell } from '../../events/events.ts';
import type { PlatformRule } from '../../mirror/answer/answers.ts';
import { clientAddress } from '../server/addresses.ts';
import type { Health } from '../server/health.ts';
import { admit, checkNetwork, clientRuleFinder, type AdmissionOptions, type ClientRule } from './clients.ts';
import { isInternal, RequestError, sendError, type FailMode } from './errors.ts';
import type { Exchange, RequestKind } from './exchange.ts';

export interface RouteOptions {
  readonly admission: AdmissionOptions;
  readonly failMode: FailMode;
  readonly clients: readonly ClientRule[];
  readonly isTrustedProxy: (address: string) => boolean;
  readonly health: () => Health;
  readonly tell: Tell<'fault'>;
}

export interface PlatformRules {
  /** The rule for the client's network. */
  readonly rule: PlatformRule | undefined;
  /** What a response by tag depends on besides `?platform=`: request headers only, or also the client's network. */
  readonly varies: 'by-headers' | 'by-network';
}

/** An admitted request. */
export interface Asked {
  readonly exchange: Exchange;
  /** A parameter of the path; empty if the route has none of that name. */
  readonly param: (name: 'name' | 'reference' | 'digest') => string;
  readonly platforms: PlatformRules;
  /** Whether the account may pull a repository (`docker.io/library/golang`). Undefined: all. */
  readonly mayPull: ((repository: string) => boolean) | undefined;
}

/** Sends the response. Throws RequestError or PullError, or rejects with one, before the headers are sent. */
export type Answer = (asked: Asked) => Promise<void> | void;

interface Asking {
  readonly exchange: Exchange;
  readonly kind: RequestKind;
  readonly answer: Answer;
  readonly context: Context<RegistryEnv>;
}

export interface RegistryEnv {
  readonly Bindings: HttpBindings;
}

/** Makes the handler of a route. */
export type Route = (kind: RequestKind, answer: Answer) => (context: Context<RegistryEnv>) => Response;

/**
 * The common part of all client requests: admission and errors. Handlers write to Node's response: with a `Response` of
 * Hono, a manifest would cost twice as much. `onBegin` is called first.
 */
export function createRoute(options: RouteOptions, onBegin: (exchange: Exchange) => void): Route {
  const ruleFor = clientRuleFinder(options.clients);
  const varies = options.clients.some(({ platform }) => platform !== undefined) ? 'by-network' : 'by-headers';

  async function respond({ exchange, kind, answer, context }: Asking): Promise<void> {
    try {
      checkNetwork(options.admission, exchange);
      checkHost(exchange.request);
      // Health checks have no account.
      const admitted = kind === 'health' ? undefined : admit(options.admission, exchange);
      const account = admitted === undefined ? undefined : await admitted;
      exchange.account = account?.name;
      exchange.kind = kind;
      const platforms = { rule: ruleFor(exchange.client), varies } as const;
      const param = (name: string): string => context.req.param(name) ?? '';
      await answer({ exchange, param, platforms, mayPull: account?.mayPull });
    } catch (error) {
      refuse(exchange, error);
    }
  }

  function refuse(exchange: Exchange, error: unknown): void {
    const { response } = exchange;
    try {
      if (isInternal(error)) options.tell('fault', { where: exchange.kind, error });
      if (response.headersSent || response.destroyed) response.destroy();
      else sendError(exchange, error, ruleFor(exchange.client)?.failMode ?? options.failMode);
    } catch (sendFailure) {
      // It must end this one response, and not the server.
      options.tell('fault', { where: exchange.kind, error: sendFailure });
      response.destroy();
    }
  }

  return (kind, answer) => (context) => {
    const { incoming, outgoing } = context.env;
    const exchange = startExchange(incoming, outgoing, options.isTrustedProxy);
    onBegin(exchange);
    if (options.health().isStopping) outgoing.setHeader('Connection', 'close');
    void respond({ exchange, kind, answer, context });
    return RESPONSE_ALREADY_SENT;
  };
}

function startExchange(
  request: IncomingMessage,
  response: ServerResponse,
  isTrustedProxy: (address: string) => boolean,
): Exchange {
  const client = clientAddress(request, isTrustedProxy);
  return { request, response, client, startedAt: performance.now(), kind: 'other', cache: 'local', bytes: 0 };
}

/** Throws RequestError unless there is one Host header (RFC 9112 section 3.2); HTTP/1.0 may omit it. */
function checkHost({ rawHeaders, httpVersion }: IncomingMessage): void {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    throw new RequestError(400, 'UNSUPPORTED', 'a request needs one Host header');
  }
}
