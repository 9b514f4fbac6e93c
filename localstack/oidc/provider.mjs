// The identity provider of the tests: the certified `oidc-provider`, with people and clients from people.mjs.
//
// It is for tests only. Whoever reaches it can log in as anybody, so it listens on 127.0.0.1 alone; below /test/ it does what
// a test of a gateway needs and no real provider offers (test.mjs). Everything is in memory.
// Usage: node provider.mjs [--port N]      0, the default, takes any free port; the issuer is printed first.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { exportJWK, generateKeyPair } from 'jose';
import Provider, { interactionPolicy } from 'oidc-provider';
import { CLAIMS, CLIENTS, PEOPLE } from './people.mjs';
import { testRoutes } from './test.mjs';

const { port } = parseArgs({ options: { port: { type: 'string', default: '0' } } }).values;
const cookieKey = crypto.randomUUID();

/** One private key for each algorithm that the clients use, as JWK. */
async function newKeys() {
  return Promise.all(
    ['ES256', 'RS256'].map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg.toLowerCase()}-${crypto.randomUUID()}` };
    }),
  );
}

const html = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** Only a login is ever asked for. */
function withoutConsent() {
  const policy = interactionPolicy.base();
  policy.remove('consent');
  return policy;
}

/** A provider that signs with the first of these keys and publishes them all. */
function make(issuer, keys) {
  return new Provider(issuer, {
    clients: CLIENTS,
    jwks: { keys },
    cookies: { keys: [cookieKey], short: { path: '/' } },
    claims: { openid: ['sub'], profile: CLAIMS },
    scopes: ['openid', 'profile'],
    // The claims of the scopes are in the id_token itself, as most companies' providers have it.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    clientBasedCORS: (_, origin, client) =>
      client.clientAuthMethod === 'none' && ['127.0.0.1', 'localhost'].includes(URL.parse(origin)?.hostname),
    async findAccount(_, sub) {
      return { accountId: sub, claims: () => ({ ...PEOPLE[sub], sub }) };
    },
    // Nobody is asked whether the client may know what it asks for.
    async loadExistingGrant(ctx) {
      const { client, provider, session, params, resourceServers = {} } = ctx.oidc;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(params.scope ?? 'openid');
      for (const resource of Object.keys(resourceServers)) grant.addResourceScope(resource, params.scope ?? '');
      await grant.save();
      return grant;
    },
    interactions: { policy: withoutConsent(), url: (_, interaction) => `/login/${interaction.uid}` },
    // What a JWT access token says of the person beyond its subject.
    extraTokenClaims: (_, token) => (token.accountId ? { ...PEOPLE[token.accountId] } : undefined),
    features: {
      devInteractions: { enabled: false },
      // Puts `sid`, the person's session, into each id_token.
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Every resource is known, and its tokens are JWTs after RFC 9068 ("at+jwt") with the resource as audience.
        getResourceServerInfo: (_, resource) => ({
          scope: 'openid profile',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' } },
        }),
        useGrantedResource: () => true,
      },
    },
    ttl: { AccessToken: 600, AuthorizationCode: 60, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 86400, Grant: 86400 },
    renderError(ctx, out) {
      ctx.type = 'html';
      ctx.body = `<!doctype html><title>Refused</title><h1>Refused</h1><pre>${html(JSON.stringify(out, null, 1))}</pre>`;
    },
  });
}

const readBody = async (request) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
};

/** The page on which anybody can log in as anybody. */
async function login(state, request, response) {
  const { params, uid } = await state.provider.interactionDetails(request, response);
  if (request.method === 'POST') {
    const user = new URLSearchParams(await readBody(request)).get('user')?.trim();
    const result = user
      ? { login: { accountId: user } }
      : { error: 'access_denied', error_description: 'nobody logged in' };
    return state.provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  return response.end(
    `<!doctype html><title>Log in</title><h1>Log in to ${html(params.client_id)}</h1><form method="post" action="/login/${html(uid)}">` +
      `<label>User <input name="user" autofocus value="${html(params.login_hint ?? '')}"></label> <button>Log in</button></form>`,
  );
}

const server = createServer();
server.listen(Number(port), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const state = { issuer, keys: await newKeys(), newKeys, readBody, jwksAway: false, jwksReads: 0 };
state.use = (keys) => {
  state.keys = keys;
  // Sessions, codes and grants lie in a store that all providers of a process share.
  state.provider = make(issuer, keys);
  state.answer = state.provider.callback();
};
state.use(state.keys);

server.on('request', async (request, response) => {
  try {
    const { pathname } = new URL(request.url, issuer);
    if (pathname.startsWith('/login/')) return await login(state, request, response);
    if (pathname.startsWith('/test/')) return await testRoutes(state, pathname.slice('/test/'.length), request, response);
    if (pathname === '/jwks') {
      state.jwksReads += 1;
      if (state.jwksAway) return response.writeHead(503).end();
    }
    return await state.answer(request, response);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) response.writeHead(500, { 'content-type': 'application/json' });
    return response.end(JSON.stringify({ error: String(error.message) }));
  }
});

console.log(issuer);
