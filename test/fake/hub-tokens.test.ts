import { describe, expect, test } from 'vitest';
import { fetchRaw, rawRequest } from '../support/http.ts';
import { askToken, basicAuth, bearer, errorCode } from '../support/hub-client.ts';
import { filledHub, GOLANG, manifestUrl } from '../support/filled-hub.ts';

const REPOSITORY = GOLANG.repository;
const CREDENTIALS = { user: 'carol', password: 'secret' };

describe('tokens', () => {
  test('a request without a token is told where to get one and for what', async () => {
    const hub = await filledHub();
    const ping = await fetchRaw(`${hub.url}/v2/`);
    expect(ping.status).toBe(401);
    expect(ping.header('www-authenticate')).toBe(
      `Bearer realm="${hub.tokenUrl}/token",service="registry.docker.io"`,
    );
    const manifest = await fetchRaw(manifestUrl(hub));
    expect(manifest.status).toBe(401);
    expect(errorCode(manifest)).toBe('UNAUTHORIZED');
    expect(manifest.header('www-authenticate')).toContain('scope="repository:library/golang:pull"');
  });

  test('an anonymous token opens the ping and the repository it was issued for, and no other', async () => {
    const hub = await filledHub();
    const headers = { Authorization: await bearer(hub, { repository: REPOSITORY }) };
    expect((await fetchRaw(`${hub.url}/v2/`, { headers })).status).toBe(200);
    expect((await fetchRaw(manifestUrl(hub), { headers })).status).toBe(200);
    expect(hub.requests.at(-1)?.identity).toBe('anonymous');
    const other = await fetchRaw(manifestUrl(hub, 'library/plain'), { headers });
    expect(other.status).toBe(401);
    expect(other.header('www-authenticate')).toContain('error="insufficient_scope"');
  });

  test('the document of a token says when it was issued and for how long', async () => {
    const hub = await filledHub({ tokenLifetimeSeconds: 77, nowMs: () => 1_700_000_000_000 });
    const answer = await askToken(hub, { repository: REPOSITORY });
    const document = JSON.parse(answer.body.toString()) as Record<string, unknown>;
    expect(document).toMatchObject({ expires_in: 77, issued_at: '2023-11-14T22:13:20.000Z' });
    expect(document['token']).toBe(document['access_token']);
  });

  test('a token stops being accepted when its time is over', async () => {
    let nowMs = 1_700_000_000_000;
    const hub = await filledHub({ tokenLifetimeSeconds: 60, nowMs: () => nowMs });
    const headers = { Authorization: await bearer(hub, { repository: REPOSITORY }) };
    nowMs += 59_999;
    expect((await fetchRaw(manifestUrl(hub), { headers })).status).toBe(200);
    nowMs += 1;
    const expired = await fetchRaw(manifestUrl(hub), { headers });
    expect(expired.status).toBe(401);
    expect(expired.header('www-authenticate')).toContain('error="invalid_token"');
  });

  test('a private repository looks like one that does not exist to all but its readers', async () => {
    const hub = await filledHub();
    for (const repository of ['carol/private', 'carol/nothing']) {
      for (const login of [{}, { user: 'dave', password: 'other' }]) {
        const headers = { Authorization: await bearer(hub, { repository, ...login }) };
        const refused = await fetchRaw(manifestUrl(hub, repository), { headers });
        expect(refused.status).toBe(401);
        expect(refused.header('www-authenticate')).toContain('error="insufficient_scope"');
      }
    }
    const headers = { Authorization: await bearer(hub, { repository: 'carol/private', ...CREDENTIALS }) };
    expect((await fetchRaw(manifestUrl(hub, 'carol/private'), { headers })).status).toBe(200);
    expect(hub.requests.at(-1)?.identity).toBe('carol');
  });

  test('wrong credentials are refused by the token service', async () => {
    const hub = await filledHub();
    const answer = await askToken(hub, { repository: REPOSITORY, user: 'carol', password: 'wrong' });
    expect(answer.status).toBe(401);
  });

  test('the password grant gives a token as well', async () => {
    const hub = await filledHub();
    const answer = await rawRequest({
      origin: hub.tokenUrl,
      method: 'POST',
      target: '/token',
      headers: [['Content-Type', 'application/x-www-form-urlencoded']],
      body: 'grant_type=password&service=s&client_id=c&scope=repository:carol/private:pull&username=carol&password=secret',
    });
    const { access_token: token } = JSON.parse(answer.body.toString()) as { access_token: string };
    const headers = { Authorization: `Bearer ${token}` };
    expect((await fetchRaw(manifestUrl(hub, 'carol/private'), { headers })).status).toBe(200);
  });

  test('a password sent to the registry instead of the token service is a violation', async () => {
    const hub = await filledHub();
    const headers = { Authorization: basicAuth('carol', 'secret') };
    expect((await fetchRaw(manifestUrl(hub), { headers })).status).toBe(401);
    expect(hub.violations).toHaveLength(1);
  });

  test('with basic authentication the registry itself asks for the password', async () => {
    const hub = await filledHub({ auth: 'basic' });
    const challenged = await fetchRaw(manifestUrl(hub));
    expect(challenged.status).toBe(401);
    expect(challenged.header('www-authenticate')).toBe('Basic realm="registry"');
    const carol = { Authorization: basicAuth('carol', 'secret') };
    const dave = { Authorization: basicAuth('dave', 'other') };
    expect((await fetchRaw(manifestUrl(hub), { headers: carol })).status).toBe(200);
    const refused = await fetchRaw(manifestUrl(hub, 'carol/private'), { headers: dave });
    expect([refused.status, errorCode(refused)]).toEqual([403, 'DENIED']);
  });

  test('without authentication everybody may pull', async () => {
    const hub = await filledHub({ auth: 'none' });
    expect((await fetchRaw(manifestUrl(hub))).status).toBe(200);
    const unknown = await fetchRaw(manifestUrl(hub, 'library/nothing'));
    expect([unknown.status, errorCode(unknown)]).toEqual([404, 'NAME_UNKNOWN']);
  });
});
