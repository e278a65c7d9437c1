import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { table } from '../../src/cli/print.ts';
import { redactText } from '../../src/lib/text.ts';
import { visible } from '../../src/lib/text.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { bytesContent } from '../fake/content.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { archiveOf } from '../support/bundles.ts';
import { runCommand } from '../support/command.ts';
import { filledHub } from '../support/filled-hub.ts';
import { testFolder } from '../support/temp.ts';

/** Clears a screen, sets a title, goes back in the line; in C0 and in C1; and turns text around. */
const STEERING = '\u001b[2J\u001b]0;title\u0007\r\u009b2J\u202eabc\u2066';
// oxlint-disable-next-line no-control-regex -- these are what it is about
const STEERS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;

/** What a command prints. */
async function printed(args: readonly string[], app?: TestApp): Promise<string> {
  const dataDir = app?.dataDir ?? (await testFolder());
  const { stdout, stderr } = await runCommand(args, { dataDir, upstreamUrl: 'http://127.0.0.1:1' });
  return `${stdout.toString()}${stderr}`;
}

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(await testFolder(), name);
  await writeFile(path, content);
  return path;
}

describe('what commands print does not steer a terminal,', () => {
  it.each([
    ['a bundle', 'import', 'x.tar', archiveOf([{ name: `x${STEERING}`, bytes: Buffer.from('x') }])],
    [
      'a bundle that breaks off',
      'import',
      'x.tar',
      archiveOf([{ name: `x${STEERING}`, bytes: Buffer.alloc(600) }]).subarray(0, 700),
    ],
    ['a list', 'check', 'x.list', `golang${STEERING}\n`],
    ['a Compose file', 'check', 'compose.yaml', `services: {a: {image: "\${${STEERING}"}}`],
    ['a Compose file that is broken', 'check', 'compose.yaml', `services: &${STEERING} *${STEERING} [`],
    ['a Dockerfile', 'check', 'Dockerfile', `FROM ${STEERING}\nFROM $${STEERING}`],
    ['a lock', 'warm', 'x.lock', `version: 1\n"${STEERING}": x\n${STEERING}`],
    ['the name of a file', 'check', `x\u001b[2J\u009b.list`, 'GOLANG\n'],
  ])('whatever %s holds', async (_, command, name, content) => {
    const path = await file(name, content);
    const text = await printed(command === 'warm' ? ['warm', '-f', path] : [command, path]);
    expect(text).not.toBe('');
    expect(text).not.toMatch(STEERS);
  });

  it('whatever a registry says', async () => {
    const hub = await filledHub();
    const entry = {
      mediaType: `application/x.index.${STEERING}`,
      digest: bytesContent(Buffer.from('x')).digest,
      size: 1,
      platform: { os: `linux${STEERING}`, architecture: STEERING, 'os.version': STEERING },
    };
    const index = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry, entry] });
    hub.fault({
      match: { kind: 'manifest' },
      do: { status: { code: 200, body: Buffer.from(index), headers: { 'content-type': OCI_INDEX } } },
    });
    const app = await startTestApp({ hub });
    const text = await printed(['resolve', '--fetch', 'golang'], app);
    expect(text).toContain('golang');
    expect(text).not.toMatch(STEERS);
    const json = await printed(['resolve', '--fetch', '--json', 'golang'], app);
    expect(json).toContain('application/x.index.');
    expect(json).not.toMatch(STEERS);
    expect(JSON.stringify(JSON.parse(json))).toContain(JSON.stringify(STEERING).slice(1, -1));
  });

  it.each([STEERING, `application/${STEERING.repeat(50_000)}`])(
    'nor that of a client, whatever a registry says',
    async (type) => {
      const hub = await filledHub();
      const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [] }));
      hub.fault({
        match: { kind: 'manifest', method: 'GET' },
        do: { status: { code: 200, body, headers: { 'content-type': OCI_INDEX } } },
      });
      const app = await startTestApp({ hub });
      const { status, body: answer } = await app.get('/v2/library/golang/manifests/latest');
      const { errors } = JSON.parse(answer.toString()) as { errors: { message: string }[] };
      expect(status).toBe(503);
      expect(errors[0]?.message).toContain('title');
      expect(errors[0]?.message).not.toMatch(STEERS);
      expect(answer.length).toBeLessThan(2000);
      expect(JSON.stringify(app.log).length).toBeLessThan(20_000);
    },
  );

  it('be it an error of a library', () => {
    expect(redactText(`no ${STEERING}`)).not.toMatch(STEERS);
  });

  it('and JSON stays the same JSON', () => {
    const value = { [STEERING]: STEERING };
    expect(JSON.parse(visible(JSON.stringify(value)))).toEqual(value);
  });

  it('and a cell of a table stays in its row', () => {
    expect(table([['a', 'b\nc']])).toBe('a  b\\nc\n');
  });
});
