import { describe, expect, it, onTestFinished } from 'vitest';
import { image } from '../fixtures/images.ts';
import { REGISTRY_USER } from '../support/docker-registry.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

describe.each(UPSTREAMS)('With credentials for $name', (kind) => {
  const content = [
    {
      repository: 'acme/secret',
      tags: ['latest'],
      image: image({ message: 'for readers only' }),
      readers: [REGISTRY_USER.name],
    },
  ];
  const credentials = { UPSTREAM_USERNAME: REGISTRY_USER.name, UPSTREAM_PASSWORD: REGISTRY_USER.password };

  /** Both are ended after the test. */
  async function engineOnMirror(
    settings: Readonly<Record<string, string>>,
  ): Promise<{ dockerd: Dockerd; mirror: Mirror }> {
    const mirror = await startMirror({ kind, content, settings: { ...credentials, ...settings } });
    onTestFinished(() => mirror.close());
    const dockerd = await startDockerd({ mirror: mirror.pierhead.host });
    onTestFinished(() => dockerd.close());
    return { dockerd, mirror };
  }

  /** What clients were answered, all in all. */
  async function statusesOf({ pierhead }: Mirror, requestKind: string): Promise<Set<unknown>> {
    await pierhead.stop();
    return new Set(pierhead.log.filter((line) => line['kind'] === requestKind).map((line) => line['status']));
  }

  it('a private repository cannot be pulled', async () => {
    const { dockerd, mirror } = await engineOnMirror({});
    const { status } = await dockerd.attempt('pull', 'acme/secret');
    expect(status).toBe(1);
    expect(await statusesOf(mirror, 'manifest')).toEqual(new Set([404]));
  });

  it('a private repository that a pattern names can be pulled, and nobody is asked who they are', async () => {
    const { dockerd, mirror } = await engineOnMirror({ UPSTREAM_PRIVATE: 'acme/*' });
    expect(await dockerd.docker('run', '--rm', '--network', 'none', 'acme/secret')).toBe('for readers only');
    // A Docker Engine that the ping challenges hands over its password for Docker Hub.
    expect(await statusesOf(mirror, 'ping')).toEqual(new Set([200]));
    expect(await statusesOf(mirror, 'manifest')).toEqual(new Set([200]));
  });
});
