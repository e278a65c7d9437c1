import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { golangFixture, plainFixture } from '../fixtures/images.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

describe.each(UPSTREAMS)('A Docker Engine with Pierhead as its mirror, upstream: $name', (kind) => {
  let mirror: Mirror;
  let dockerd: Dockerd;

  beforeAll(async () => {
    const content = [
      { repository: 'library/golang', ...golangFixture() },
      { repository: 'library/plain', ...plainFixture() },
    ];
    // No tag stays fresh, so every pull wants to ask upstream.
    mirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s' } });
    dockerd = await startDockerd({ mirror: mirror.pierhead.host });
  });

  afterAll(async () => {
    await dockerd?.close();
    await mirror?.close();
  });

  const pulls: readonly (readonly [name: string, pull: () => Promise<void>])[] = [
    [
      'runs golang for its own platform',
      async () => {
        expect(await dockerd.docker('run', '--rm', '--network', 'none', 'golang')).toBe('linux/amd64');
      },
    ],
    [
      'pulls the same tag for the platform that it names',
      async () => {
        await dockerd.docker('pull', '--platform', 'linux/arm64', 'golang');
        const format = '{{.Os}}/{{.Architecture}}';
        expect(await dockerd.docker('image', 'inspect', '--format', format, 'golang')).toBe('linux/arm64');
      },
    ],
    [
      'runs a tag that is no list',
      async () => {
        expect(await dockerd.docker('run', '--rm', '--network', 'none', 'plain')).toBe('plain');
      },
    ],
  ];

  it.each(pulls)('%s', (_name, pull) => pull());

  describe('when upstream is switched off and its own images are gone', () => {
    beforeAll(() => mirror.upstream.stop());

    it.each(pulls)('%s', async (_name, pull) => {
      await dockerd.removeImages();
      await pull();
    });
  });
});
