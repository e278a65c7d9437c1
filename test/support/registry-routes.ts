import type { HttpBindings } from '@hono/node-server';
import type { Admitted, Route } from '../../src/http/registry/route.ts';
import { createRoutes } from '../../src/http/registry/routes.ts';
import type { RequestKind } from '../../src/http/registry/exchange.ts';
import type { Mirror } from '../../src/mirror/mirror.ts';

export interface ChosenRoute {
  readonly kind: RequestKind;
  readonly params: Readonly<Record<string, string>>;
}

/** A mirror that never says what it has. */
const mirror = { repositories: () => new Promise(() => undefined) } as unknown as Mirror;

/** Only its method counts. */
const GET = new Request('http://mirror/');
const RESPONSE = new Response();
const chosen: ChosenRoute[] = [];

const record: Route = (kind, read) => (context) => {
  const params = context.req.param();
  const exchange = { kind, request: context.env.incoming } as Admitted['exchange'];
  // This one alone finds out in its answer that there is no such resource.
  if (kind === 'catalog') {
    const answer = read({ params, query: new URLSearchParams() });
    void (async () => answer({ exchange } as Admitted))().catch(() => undefined);
  }
  chosen.push({ kind: exchange.kind, params });
  return RESPONSE;
};

const app = createRoutes({ mirror, health: () => ({ isStopping: false, degraded: [] }) }, record);

/** The route that the registry API takes for a GET of this target. */
export function routeOf(target: string): ChosenRoute {
  const env = { incoming: { method: 'GET', url: target } } as HttpBindings;
  void app.fetch(GET, env);
  const [route, ...others] = chosen.splice(0);
  if (route === undefined || others.length > 0) throw new Error(`${target} has not one route`);
  return route;
}
