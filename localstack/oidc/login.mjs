// A person's whole login without a browser: the code flow with PKCE, and the form of the test provider.
//
// As a program: node login.mjs --issuer URL --user NAME [--client NAME] [--resource URL]; prints the token response.
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';
import * as oauth from 'oauth4webapi';
import { CLIENTS } from './people.mjs';

const loopback = { [oauth.allowInsecureRequests]: true };

/** A browser's memory of cookies, for one site. */
function browser() {
  const cookies = new Map();
  return async (url, init = {}) => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(url, { redirect: 'manual', ...init, headers: { ...init.headers, ...(cookie && { cookie }) } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      if (value === '') cookies.delete(name);
      else cookies.set(name, value);
    }
    return answer;
  };
}

/** The token response: `id_token`, `access_token` and so on. */
export async function login({ issuer, user, client: name = 'analyst-page', resource, scope = 'openid profile', nonce, dpop }) {
  const known = CLIENTS.find((client) => client.client_id === name);
  if (!known) throw new Error(`there is no client ${name}`);
  const server = await oauth
    .discoveryRequest(new URL(issuer), loopback)
    .then((answer) => oauth.processDiscoveryResponse(new URL(issuer), answer));
  const client = { client_id: name };
  const authentication = known.client_secret ? oauth.ClientSecretBasic(known.client_secret) : oauth.None();
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const redirect = 'http://127.0.0.1/callback';
  const authorize = new URL(server.authorization_endpoint);
  authorize.search = new URLSearchParams({
    client_id: name,
    redirect_uri: redirect,
    response_type: 'code',
    scope,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(resource && { resource }),
    ...(nonce && { nonce }),
  });
  const go = browser();
  let answer = await go(authorize);
  for (let steps = 0; steps < 10; steps += 1) {
    const to = answer.headers.get('location');
    if (!to) throw new Error(`the provider answered ${answer.status}: ${await answer.text()}`);
    if (to.startsWith(redirect)) {
      const parameters = oauth.validateAuthResponse(server, client, new URL(to), state);
      const token = await oauth.authorizationCodeGrantRequest(server, client, authentication, parameters, redirect, verifier, {
        ...loopback,
        ...(dpop && { DPoP: dpop }),
        ...(resource && { additionalParameters: { resource } }),
      });
      return oauth.processAuthorizationCodeResponse(server, client, token, nonce ? { expectedNonce: nonce } : undefined);
    }
    const next = new URL(to, issuer);
    const form = new URLSearchParams({ user });
    answer = next.pathname.startsWith('/login/') ? await go(next, { method: 'POST', body: form }) : await go(next);
  }
  throw new Error('the provider sends in circles');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const text = { type: 'string' };
  const options = { issuer: text, user: text, client: text, resource: text, scope: text };
  console.log(JSON.stringify(await login(parseArgs({ options }).values)));
}
