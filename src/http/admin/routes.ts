import type { RequestListener } from 'node:http';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Tell } from '../../events/events.ts';
import { parseJson } from '../../lib/json.ts';
import { OperationError, type OperationRun, type Operations } from '../../operations/protocol.ts';
import { ALIVE, readiness, type Health } from '../server/health.ts';
import { requireAdmin, requireOwnHost, type AdminContext } from './guard.ts';

export interface AdminRoutesOptions {
  /** Undefined: the API is for loopback only. */
  readonly adminToken: string | undefined;
  /** Names of this server besides `localhost`, in lower case. */
  readonly hosts: readonly string[];
  readonly health: () => Health;
  /** In the format of Prometheus. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** The effective settings with their sources, secrets masked. */
  readonly settings: () => unknown;
  readonly operations: Pick<Operations, 'refresh' | 'resolve'>;
  readonly tell: Tell<'fault'>;
}

const BODY_LIMIT = bodyLimit({
  maxSize: 64 * 1024,
  onError: (context) => context.json({ error: 'the body is over 64 KiB' }, 413),
});

/**
 * The routes of `adminListen`. Health is for all clients, metrics need a Host of this server, the API needs an admin.
 */
export function createAdminRoutes(options: AdminRoutesOptions): Hono<{ Bindings: HttpBindings }> {
  const { refresh, resolve } = options.operations;
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.get('/healthz', (context) => context.json(ALIVE));
  app.get('/readyz', (context) => {
    const { status, body } = readiness(options.health());
    return context.json(body, status);
  });
  app.use(requireOwnHost(options.hosts));
  app.get('/metrics', async (context) => {
    const { contentType, text } = await options.metrics();
    return context.body(text, 200, { 'Content-Type': contentType });
  });
  app.use('/api/*', requireAdmin(options.adminToken));
  app.get('/api/v1/config', (context) => context.json(options.settings() as object));
  app.get('/api/v1/resolve', async (context) => {
    const { image = '', platform } = context.req.query();
    return context.json(await resolve({ image, platform }, runOf(context)));
  });
  app.post('/api/v1/refresh', BODY_LIMIT, async (context) => {
    const body = jsonIn(await context.req.text().catch(() => ''));
    const image = typeof body === 'object' && body !== null && 'image' in body ? body.image : undefined;
    if (typeof image !== 'string') {
      return context.json({ error: 'the body must be JSON such as {"image": "golang:1.22"}' }, 400);
    }
    return context.json(await refresh({ image }, runOf(context)));
  });
  app.notFound((context) => context.json({ error: 'not found' }, 404));
  app.onError((error, context) => {
    if (error instanceof OperationError) return context.json({ error: error.message }, statusOf(error));
    // An unexpected message may hold a secret: it is for the log, not for the client.
    options.tell('fault', { where: 'admin', error });
    return context.json({ error: 'internal error' }, 500);
  });
  return app;
}

/** Undefined if `text` is not JSON. */
function jsonIn(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

export function createAdminListener(options: AdminRoutesOptions): RequestListener {
  const answer = getRequestListener(createAdminRoutes(options).fetch);
  return (request, response) => void answer(request, response);
}

/** The operation ends when its client leaves. */
function runOf({ req }: AdminContext): OperationRun<never> {
  return { signal: req.raw.signal, onEvent: () => undefined };
}

export function statusOf({ code }: OperationError): 400 | 404 | 409 | 500 | 503 {
  switch (code) {
    case 'usage':
    case 'protocol':
      return 400;
    case 'not-found':
      return 404;
    case 'busy':
      return 409;
    case 'stopped':
      return 503;
    case 'failed':
      return 500;
  }
}
