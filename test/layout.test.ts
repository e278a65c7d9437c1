import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;
const ENDINGS = ['.test.ts', '.flow.test.ts', '.property.test.ts'];
/** Shorter files are held by the tests of those that use them. */
const MAX_UNTESTED_LINES = 60;

/** Files of `src/` without a test of their own path, and the test that holds each. */
const HELD_ELSEWHERE: Readonly<Record<string, string>> = {
  'accounts/passwords.ts': 'accounts/accounts.test.ts',
  'app/after-pulls.ts': 'mirror/after-pull/prefetch.flow.test.ts',
  'app/mirror.ts': 'mirror/mirror.flow.test.ts',
  'app/operations.ts': 'http/control/routes.flow.test.ts',
  'app/parts.ts': 'app/app.flow.test.ts',
  'app/read-only.ts': 'cli/commands/check.flow.test.ts',
  'app/upstreams.ts': 'config/upstreams.flow.test.ts',
  'bundle/bundle-index.ts': 'bundle/reader.test.ts',
  'bundle/contents.ts': 'bundle/reader.test.ts',
  'bundle/tar-reader.ts': 'bundle/tar.test.ts',
  'bundle/writer.ts': 'bundle/reader.property.test.ts',
  'cli/commands/export.ts': 'operations/bundle/export.flow.test.ts',
  'cli/commands/resolve.ts': 'operations/images/resolve.flow.test.ts',
  'cli/commands/setup.ts': 'setup/client-files.flow.test.ts',
  'cli/control-client.ts': 'http/control/routes.flow.test.ts',
  'cli/image-files.ts': 'cli/commands/check.flow.test.ts',
  'cli/operation.ts': 'cli/commands/check.flow.test.ts',
  'cli/progress.ts': 'cli/print.test.ts',
  'config/bandwidth.ts': 'upstream/limits/bandwidth.test.ts',
  'config/redis.ts': 'config/load.test.ts',
  'config/sources.ts': 'config/load.test.ts',
  'config/values.ts': 'config/load.test.ts',
  'config/yaml-file.ts': 'config/load.test.ts',
  'download/progress.ts': 'download/download.test.ts',
  'http/admin/guard.ts': 'http/admin/routes.flow.test.ts',
  'http/registry/errors.ts': 'http/registry/server.test.ts',
  'http/registry/exchange.ts': 'http/admin/routes.flow.test.ts',
  'http/registry/lists.ts': 'mirror/lists/listing.flow.test.ts',
  'http/server/listener.ts': 'http/registry/server.test.ts',
  'image-files/needed.ts': 'image-files/source.test.ts',
  'image-files/yaml-tree.ts': 'image-files/compose.test.ts',
  'lib/json.ts': 'fuzz/json.test.ts',
  'lib/promises.ts': 'lib/single-flight.test.ts',
  'lib/proxy-environment.ts': 'upstream/connect/tunnel.flow.test.ts',
  'lib/redis-address.ts': 'config/addresses.test.ts',
  'lib/worker.ts': 'store/part/hashing.test.ts',
  'log/event-log.ts': 'upstream/limits/forecast.test.ts',
  'metrics/metrics.ts': 'http/admin/routes.flow.test.ts',
  'metrics/upstream.ts': 'mirror/pull-cost.flow.test.ts',
  'mirror/after-pull/recorder.ts': 'mirror/manifest/tag-rules.flow.test.ts',
  'mirror/after-pull/statistics.ts': 'mirror/manifest/clients.test.ts',
  'mirror/answer/answers.ts': 'mirror/blob/fill.property.test.ts',
  'mirror/answer/errors.ts': 'mirror/outage.flow.test.ts',
  'mirror/manifest/fetch.ts': 'mirror/manifest/manifests.flow.test.ts',
  'mirror/manifest/fleet.ts': 'store/redis/fleet.flow.test.ts',
  'mirror/manifest/freshness.ts': 'mirror/manifest/tag-rules.flow.test.ts',
  'mirror/manifest/missing-blobs.ts': 'mirror/outage.flow.test.ts',
  'oci/reference.ts': 'oci/oci.property.test.ts',
  'operations/bundle/export-plan.ts': 'operations/bundle/export.flow.test.ts',
  'operations/bundle/receive.ts': 'operations/bundle/import.flow.test.ts',
  'operations/bundle/selection.ts': 'operations/bundle/export.flow.test.ts',
  'operations/images/look.ts': 'operations/images/resolve.flow.test.ts',
  'operations/images/readiness.ts': 'cli/commands/check.flow.test.ts',
  'operations/images/tree.ts': 'operations/images/resolve.flow.test.ts',
  'operations/protocol.ts': 'http/control/routes.test.ts',
  'operations/warm/image.ts': 'operations/warm/warm.flow.test.ts',
  'operations/warm/plan.ts': 'operations/warm/warm.flow.test.ts',
  'program.ts': 'docs.test.ts',
  'reference/api.ts': 'reference/pages.test.ts',
  'reference/settings-file.ts': 'reference/settings.test.ts',
  'store/blob/adoptions.ts': 'store/blobs.test.ts',
  'store/catalog/list.ts': 'store/catalog/images.test.ts',
  'store/catalog/state.ts': 'store/catalog/images.test.ts',
  'store/images.ts': 'store/catalog/images.test.ts',
  'store/index/blobs.ts': 'store/space/space.test.ts',
  'store/index/history.ts': 'store/catalog/history.test.ts',
  'store/index/manifests.ts': 'store/manifests.test.ts',
  'store/index/pages.ts': 'store/index/inspection.test.ts',
  'store/index/repositories.ts': 'store/manifests.test.ts',
  'store/index/table.ts': 'store/index/environment.flow.test.ts',
  'store/index/tables.ts': 'store/manifests.test.ts',
  'store/manifest/lmdb.ts': 'store/manifests.test.ts',
  'store/manifest/local.ts': 'store/manifests.test.ts',
  'store/manifest/tiers.ts': 'store/manifests.test.ts',
  'store/part/part.ts': 'store/blobs.test.ts',
  'store/redis/health.ts': 'store/redis/outage.flow.test.ts',
  'store/redis/manifests.ts': 'store/manifests.test.ts',
  'store/space/sweep.ts': 'store/space/space.test.ts',
  'store/space/usage.ts': 'store/space/space.test.ts',
  'upstream/auth/docker-config.ts': 'upstream/auth/credential-helper.flow.test.ts',
  'upstream/auth/logins.ts': 'upstream/auth/auth.flow.test.ts',
  'upstream/connect/connection.ts': 'upstream/connect/connections.flow.test.ts',
  'upstream/connect/network-failure.ts': 'upstream/registry/failure.flow.test.ts',
  'upstream/connect/time-limit.ts': 'upstream/connect/exchange.flow.test.ts',
  'upstream/connect/transport.ts': 'upstream/connect/exchange.flow.test.ts',
  'upstream/health/breaker-rules.ts': 'upstream/health/breaker.test.ts',
  'upstream/health/prober.ts': 'upstream/health/breaker.test.ts',
  'upstream/registry/head-trust.ts': 'upstream/registry/ways.flow.test.ts',
  'upstream/upstream.ts': 'upstream/registry/failure.flow.test.ts',
};

const texts = new Map(
  ['src', 'test'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name): [string, string] => {
        const file = join(folder, name);
        return [file, readFileSync(join(ROOT, file), 'utf8')];
      }),
  ),
);

/** The files that run when this one does: of what it imports, types run nowhere. */
function importsOf(file: string): string[] {
  const found = (texts.get(file) ?? '').matchAll(
    /(?:^|\n)\s*(?:import|export)\b(?!\s+type\b)[^;]*?from\s+'([^']+)'|\bimport\('([^']+)'\)|(?:^|\n)import\s+'([^']+)'/g,
  );
  const imported = [...found].map((match) => join(file, '..', match[1] ?? match[2] ?? match[3] ?? ''));
  // It names the built program, which tests start as a process.
  if (file === 'test/support/program.ts') imported.push('src/main.ts');
  return imported.filter((each) => texts.has(each));
}

function reachedFrom(test: string): ReadonlySet<string> {
  const reached = new Set([test]);
  for (const file of reached) for (const imported of importsOf(file)) reached.add(imported);
  return reached;
}

function hasOwnTest(file: string): boolean {
  return ENDINGS.some((ending) => texts.has(`test/${file.slice(0, -'.ts'.length)}${ending}`));
}

const sources = [...texts.keys()].filter((file) => file.startsWith('src/')).map((file) => file.slice(4));
const untested = sources.filter((file) => {
  const text = texts.get(`src/${file}`) ?? '';
  const isLong = text.split('\n').length - 1 > MAX_UNTESTED_LINES;
  return isLong && /^export (?:async |abstract )*(?:function|class)\b/m.test(text) && !hasOwnTest(file);
});

describe('the tests', () => {
  it('have for each longer file of src one of its path, or a name on the list', () => {
    expect(sources.length).toBeGreaterThan(200);
    expect(untested.sort()).toEqual(Object.keys(HELD_ELSEWHERE).sort());
  });

  it.each(Object.entries(HELD_ELSEWHERE))('of src/%s run it: test/%s', (file, test) => {
    expect(texts.has(`test/${test}`)).toBe(true);
    expect(reachedFrom(`test/${test}`)).toContain(`src/${file}`);
  });

  it('lie in a room of src, if they are not of a kind that has a folder of its own', () => {
    const kinds = ['bench', 'coverage', 'e2e', 'fake', 'fixtures', 'fuzz', 'printed', 'support'];
    const rooms = new Set(sources.map((file) => file.slice(0, Math.max(file.lastIndexOf('/'), 0))));
    const folders = [...texts.keys()]
      .filter((file) => file.startsWith('test/') && file.endsWith('.test.ts'))
      .map((file) => file.slice('test/'.length, Math.max(file.lastIndexOf('/'), 'test/'.length)));
    const strange = folders.filter(
      (folder) => !rooms.has(folder) && !kinds.includes(folder.split('/')[0] ?? ''),
    );
    expect([...new Set(strange)]).toEqual([]);
  });
});
