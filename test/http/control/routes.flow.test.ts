import { lstat } from 'node:fs/promises';
import { createServer, request, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { connect, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished } from 'vitest';
import { askOwner } from '../../../src/cli/control-client.ts';
import { controlSocket, takeDataDir } from '../../../src/store/data-dir.ts';
import { startTestApp } from '../../support/app.ts';
import { bigBlob, hubWith, MIB, storedBlob } from '../../support/big-blob.ts';
import { rot } from '../../support/stored-files.ts';
import { filledHub } from '../../support/filled-hub.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually, withDeadline } from '../../support/wait.ts';

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

interface Question {
  readonly path: string;
  readonly method?: string;
  readonly body?: string;
  readonly protocol?: string;
}

/** What the socket answers to plain HTTP, as a script would ask it. */
async function ask(dataDir: string, question: Question): Promise<Answer> {
  const { path, method = 'POST', body = '{}', protocol = '1' } = question;
  const headers = protocol === '' ? {} : { 'Pierhead-Protocol': protocol };
  const asked = request({ socketPath: controlSocket(dataDir), path, method, headers, agent: false });
  asked.end(method === 'GET' ? undefined : body);
  const [response] = (await withDeadline(once(asked, 'response'), `an answer to ${path}`)) as [
    IncomingMessage,
  ];
  return {
    status: response.statusCode,
    type: response.headers['content-type'],
    body: await withDeadline(text(response), `the end of the answer to ${path}`),
  };
}

const verification = (signal = new AbortController().signal, onEvent: () => void = () => undefined) =>
  ({ name: 'verify', request: { repair: false }, run: { signal, onEvent } }) as const;

describe('the control socket', () => {
  it('is for its own user alone', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { mode } = await lstat(join(app.dataDir, 'control.sock'));
    expect(mode & 0o777).toBe(0o600);
  });

  it('tells who owns the data directory', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { status, body } = await ask(app.dataDir, { path: '/v1/owner', method: 'GET' });
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ version: '0.0.0-test', protocol: 1, pid: process.pid });
  });

  it('answers an operation line by line, the last with its result', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { status, type, body } = await ask(app.dataDir, { path: '/v1/verify', body: '{"repair":false}' });
    expect(status).toBe(200);
    expect(type).toBe('application/x-ndjson');
    const lines = body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines.at(-1)).toMatchObject({ result: { blobs: 0, problems: 0 } });
    expect(lines.slice(0, -1).every((line) => 'event' in line)).toBe(true);
  });

  it.each([
    [
      'another protocol',
      { path: '/v1/verify', protocol: '99' },
      400,
      'protocol',
      'use the commands of that version',
    ],
    ['no protocol', { path: '/v1/verify', protocol: '' }, 400, 'protocol', 'not none'],
    ['an unknown operation', { path: '/v1/explode' }, 404, 'usage', 'no such operation'],
    ['a request that is not JSON', { path: '/v1/verify', body: '{' }, 400, 'usage', 'not JSON'],
    ['a request without what it needs', { path: '/v1/verify' }, 400, 'usage', 'repair must be'],
    ['the wrong method', { path: '/v1/verify', method: 'GET' }, 404, 'usage', 'no such operation'],
  ])('refuses %s and says why', async (_, question, status, code, message) => {
    const app = await startTestApp({ hub: await filledHub() });
    const answer = await ask(app.dataDir, question);
    expect(answer.status).toBe(status);
    const { error } = JSON.parse(answer.body) as { error: { code: string; message: string } };
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
  });

  it('keeps a question that comes before the server is ready, and answers it then', async () => {
    const dataDir = await testFolder();
    const lock = await takeDataDir(dataDir);
    onTestFinished(() => lock.release());
    const early = ask(dataDir, { path: '/early', method: 'GET' });
    lock.answerBy((_request, response) => response.end('ready'));
    expect((await early).body).toBe('ready');
  });

  it('is there although an address of the server is taken, and gone when that has failed', async () => {
    const hub = await filledHub();
    const dataDir = await testFolder();
    await expect(startTestApp({ hub, dataDir, flags: { listen: hub.host } })).rejects.toThrow('is in use');
    await expect(lstat(controlSocket(dataDir))).rejects.toThrow('ENOENT');
  });

  it('is gone when the server has stopped, and its operations end before', async () => {
    const big = bigBlob({ size: 8 * MIB, seed: 51 });
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { scrubInterval: 'off' } });
    await app.get('/v2/library/big/manifests/latest');
    await app.get(big.target);
    await storedBlob(app, big);
    await rot(app.dataDir, big.content.digest);
    // The repair waits for this for ever.
    const gate = hub.holdBlob(big.content.digest, 4 * MIB);
    const repair = { ...verification(), request: { repair: true } };
    const repaired = askOwner(app.dataDir, repair);
    await Promise.race([gate.reached, repaired]);
    const [result] = await Promise.allSettled([repaired, withDeadline(app.stop(), 'the end of the server')]);
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'stopped' } });
    await expect(lstat(controlSocket(app.dataDir))).rejects.toThrow('ENOENT');
    expect(await askOwner(app.dataDir, verification())).toEqual({ kind: 'none' });
  });

  it('takes nothing new while the server lets transfers finish, and says so', async () => {
    const big = bigBlob({ size: 8 * MIB, seed: 51 });
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { scrubInterval: 'off' } });
    const gate = hub.holdBlob(big.content.digest, 4 * MIB);
    const client = app.begin(big.target);
    await client.bodyReached(3 * MIB);
    const stopped = app.stop();
    expect(await askOwner(app.dataDir, verification())).toEqual({ kind: 'ending' });
    gate.release();
    expect((await client.finished()).complete).toBe(true);
    await stopped;
    expect(await askOwner(app.dataDir, verification())).toEqual({ kind: 'none' });
  });

  it('ends an operation whose caller went away, and not the transfer that it had begun', async () => {
    const big = bigBlob({ size: 8 * MIB, seed: 51 });
    const hub = await hubWith(big);
    const app = await startTestApp({ hub, flags: { scrubInterval: 'off' } });
    await app.get('/v2/library/big/manifests/latest');
    await app.get(big.target);
    await storedBlob(app, big);
    await rot(app.dataDir, big.content.digest);
    const gate = hub.holdBlob(big.content.digest, 4 * MIB);
    const socket = connect(controlSocket(app.dataDir));
    onTestFinished(() => {
      socket.destroy();
    });
    const body = '{"repair":true}';
    socket.write(
      `POST /v1/verify HTTP/1.1\r\nHost: x\r\nPierhead-Protocol: 1\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await gate.reached;
    await expect(askOwner(app.dataDir, verification())).rejects.toMatchObject({ code: 'busy' });
    socket.destroy();
    await eventually(
      () => askOwner(app.dataDir, verification()).catch(() => undefined),
      'the way to be free for another verification',
    );
    gate.release();
    await storedBlob(app, big);
    expect((await app.get(big.target)).body.equals(big.whole)).toBe(true);
  });

  it('works in a folder whose path is longer than a socket address', async () => {
    const dataDir = join(await testFolder(), 'd'.repeat(120));
    const app = await startTestApp({ hub: await filledHub(), dataDir });
    expect(await askOwner(app.dataDir, verification())).toMatchObject({ kind: 'done' });
  });
});

describe('a command', () => {
  it('is told that nobody owns the folder when there is no socket, or a dead one', async () => {
    const dataDir = await testFolder();
    expect(await askOwner(dataDir, verification())).toEqual({ kind: 'none' });
    expect(await askOwner(join(dataDir, 'nothing', 'there'), verification())).toEqual({ kind: 'none' });
  });

  it('says that a server which hangs up is of an older version', async () => {
    const dataDir = await testFolder();
    const old = createNetServer((socket) => socket.destroy());
    onTestFinished(() => void old.close());
    await once(old.listen(controlSocket(dataDir)), 'listening');
    await expect(askOwner(dataDir, verification())).rejects.toMatchObject({
      code: 'protocol',
      message: expect.stringContaining('older version') as string,
    });
  });

  it('says so when what answers is no pierhead', async () => {
    const dataDir = await testFolder();
    const other = createServer((_request, response) => response.writeHead(404).end('<html>'));
    onTestFinished(() => void other.close());
    await once(other.listen(controlSocket(dataDir)), 'listening');
    await expect(askOwner(dataDir, verification())).rejects.toMatchObject({ code: 'protocol' });
  });

  it.each([
    ['in the middle of a line', '{"event":{}}\n{"resu'],
    ['between two lines', '{"event":{}}\n'],
  ])('says so when the server dies %s', async (_, sent) => {
    const dataDir = await testFolder();
    const dying = createServer((_request, response) => {
      response.write(sent, () => response.socket?.destroy());
    });
    onTestFinished(() => void dying.close());
    await once(dying.listen(controlSocket(dataDir)), 'listening');
    await expect(withDeadline(askOwner(dataDir, verification()), 'the end')).rejects.toMatchObject({
      code: 'stopped',
      message: 'the server stopped before the operation was done',
    });
  });
});
