import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { golangFixture } from '../fixtures/images.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { startMirror, type Mirror } from '../support/mirror.ts';
import { tempFolder, type TempFolder } from '../support/temp.ts';
import { UPSTREAMS } from '../support/upstreams.ts';

const DOCKERFILE = `FROM golang
COPY note /note
RUN ["/hello"]
`;

describe.each(UPSTREAMS)('docker build through Pierhead, upstream: $name', (kind) => {
  let mirror: Mirror;
  let dockerd: Dockerd;
  let context: TempFolder;

  beforeAll(async () => {
    context = await tempFolder();
    await writeFile(join(context.path, 'Dockerfile'), DOCKERFILE);
    await writeFile(join(context.path, 'note'), 'a file of its own\n');
    const content = [{ repository: 'library/golang', ...golangFixture() }];
    mirror = await startMirror({ kind, content, settings: { TAG_TTL: '0s' } });
    dockerd = await startDockerd({ mirror: mirror.pierhead.host });
  });

  afterAll(async () => {
    await dockerd?.close();
    await mirror?.close();
    await context?.remove();
  });

  const builders = ['classic', 'buildkit'] as const;

  async function build(builder: (typeof builders)[number]): Promise<void> {
    // Either builder would take an image that the engine has already.
    await dockerd.removeImages();
    const output = await dockerd.build({ contextPath: context.path, tag: 'built', builder });
    expect(output).toMatch(/^(#\d+ [\d.]+ )?linux\/amd64$/m);
    const run = await dockerd.docker('run', '--rm', '--network', 'none', 'built');
    expect(run).toBe('linux/amd64');
  }

  it.each(builders)('builds on golang with the %s builder', build);

  describe('when upstream is switched off', () => {
    beforeAll(() => mirror.upstream.stop());

    it.each(builders)('builds on golang with the %s builder', build);
  });
});
