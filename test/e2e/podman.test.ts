import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { golangFixture } from '../fixtures/images.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { createPodman } from '../support/podman.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

describe.each(UPSTREAMS)('Podman with Pierhead in its registries.conf, upstream: $name', (kind) => {
  let mirror: Mirror;

  beforeAll(async () => {
    const content = [{ repository: 'library/golang', ...golangFixture() }];
    mirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s' } });
  });

  afterAll(() => mirror?.close());

  /** `os/architecture` of golang after a pull by a Podman that has nothing. */
  async function platformOfPull(...flags: readonly string[]): Promise<string> {
    const podman = await createPodman({ mirror: mirror.pierhead.host });
    onTestFinished(() => podman.close());
    const id = await podman.podman('pull', '--quiet', ...flags, 'docker.io/library/golang');
    return podman.podman('image', 'inspect', '--format', '{{.Os}}/{{.Architecture}}', id);
  }

  it('pulls golang for its own platform', async () => {
    expect(await platformOfPull()).toBe('linux/amd64');
  });

  it('pulls golang for the architecture that it names', async () => {
    expect(await platformOfPull('--arch', 'arm64')).toBe('linux/arm64');
  });

  describe('when upstream is switched off', () => {
    beforeAll(() => mirror.upstream.stop());

    it('pulls golang for its own platform', async () => {
      expect(await platformOfPull()).toBe('linux/amd64');
    });

    it('pulls golang for the architecture that it names', async () => {
      expect(await platformOfPull('--arch', 'arm64')).toBe('linux/arm64');
    });
  });
});
