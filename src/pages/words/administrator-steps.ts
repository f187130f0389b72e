// Error pages: what administrators and developers do.
import { words } from '../../kit/language.ts'

export const administratorStepWords = words({
  'Administrator: make the reverse proxy forward the Host header unchanged.': [
    'Administration: Der Reverse-Proxy muss den Host-Header unverändert weiterleiten.',
    'Administrador: configure el proxy inverso para que reenvíe sin cambios la cabecera Host.',
    'Administrateur : faites en sorte que le proxy inverse transmette l’en-tête Host sans le modifier.',
    '管理者: リバースプロキシが Host ヘッダーを変更せずに転送するよう設定してください。',
  ],
  'Administrator: set `issuer` to the https URL, and list the reverse proxy in `trusted_proxies`.': [
    'Administration: Setzen Sie `issuer` auf die https-URL und tragen Sie den Reverse-Proxy unter `trusted_proxies` ein.',
    'Administrador: asigne a `issuer` la URL https e incluya el proxy inverso en `trusted_proxies`.',
    'Administrateur : définissez `issuer` sur l’URL https et ajoutez le proxy inverse à `trusted_proxies`.',
    '管理者: `issuer` に https の URL を設定し、リバースプロキシを `trusted_proxies` に追加してください。',
  ],
  'Administrator: the log has the reason under the reference below.': [
    'Administration: Der Grund steht im Log unter der Referenz unten.',
    'Administrador: el motivo está en el registro con la referencia que aparece abajo.',
    'Administrateur : la raison figure dans le journal sous la référence ci-dessous.',
    '管理者: 理由は、下の参照番号でログから確認できます。',
  ],
  'Administrator: set `issuer` to the public URL, or add this host to `allowed_hosts`.': [
    'Administration: Setzen Sie `issuer` auf die öffentliche URL, oder tragen Sie diesen Host unter `allowed_hosts` ein.',
    'Administrador: asigne a `issuer` la URL pública o añada este host a `allowed_hosts`.',
    'Administrateur : définissez `issuer` sur l’URL publique, ou ajoutez cet hôte à `allowed_hosts`.',
    '管理者: `issuer` に公開 URL を設定するか、このホストを `allowed_hosts` に追加してください。',
  ],
  'Administrator: add the user or group under `admins` in the configuration.': [
    'Administration: Tragen Sie den Benutzer oder die Gruppe in der Konfiguration unter `admins` ein.',
    'Administrador: añada el usuario o el grupo en `admins`, en la configuración.',
    'Administrateur : ajoutez l’utilisateur ou le groupe sous `admins` dans la configuration.',
    '管理者: 設定ファイルの `admins` にユーザーまたはグループを追加してください。',
  ],
  'Add another administrator under `admins` first.': [
    'Tragen Sie zuerst unter `admins` jemand anderen ein.',
    'Añada antes a otro administrador en `admins`.',
    'Ajoutez d’abord un autre administrateur sous `admins`.',
    '先に `admins` に別の管理者を追加してください。',
  ],
  'To block the last one all the same, use `postern blocks add` with `--force`.': [
    'Um das letzte Administratorkonto trotzdem zu sperren, verwenden Sie `postern blocks add` mit `--force`.',
    'Para bloquear al último de todos modos, use `postern blocks add` con `--force`.',
    'Pour bloquer le dernier malgré tout, utilisez `postern blocks add` avec `--force`.',
    'それでも最後の管理者をブロックする場合は、`postern blocks add` に `--force` を付けてください。',
  ],
  'Administrator: the log names the missing key (`record.unreadable`).': [
    'Administration: Das Log nennt den fehlenden Schlüssel (`record.unreadable`).',
    'Administrador: el registro indica la clave que falta (`record.unreadable`).',
    'Administrateur : le journal indique la clé manquante (`record.unreadable`).',
    '管理者: 不足している鍵はログで確認できます(`record.unreadable`)。',
  ],
  'Administrator: print one on the gateway’s host with `postern admin link` (`npm start -- admin link` in a source checkout).':
    [
      'Administration: Geben Sie auf dem Rechner des Gateways mit `postern admin link` einen neuen aus (`npm start -- admin link` im Quellcode-Verzeichnis).',
      'Administrador: obtenga uno en el equipo de la puerta de enlace con `postern admin link` (`npm start -- admin link` en una copia del código fuente).',
      'Administrateur : affichez-en un sur la machine de la passerelle avec `postern admin link` (`npm start -- admin link` depuis les sources).',
      '管理者: ゲートウェイのホストで `postern admin link` を実行すると表示されます(ソースから実行している場合は `npm start -- admin link`)。',
    ],
  'Administrator: the log says what did not match.': [
    'Administration: Das Log sagt, was nicht übereinstimmt.',
    'Administrador: el registro indica qué no coincide.',
    'Administrateur : le journal indique ce qui ne correspond pas.',
    '管理者: 一致しなかった内容はログで確認できます。',
  ],
  'Administrator: check `client_id`, `client_secret` and the redirect URI at the provider. The log names the provider and its error.':
    [
      'Administration: Prüfen Sie `client_id`, `client_secret` und die Redirect-URI beim Anbieter. Das Log nennt den Anbieter und seinen Fehler.',
      'Administrador: compruebe `client_id`, `client_secret` y la URI de redirección en el proveedor. El registro indica el proveedor y su error.',
      'Administrateur : vérifiez `client_id`, `client_secret` et l’URI de redirection chez le fournisseur. Le journal indique le fournisseur et son erreur.',
      '管理者: `client_id`、`client_secret`、プロバイダーに登録したリダイレクト URI を確認してください。プロバイダー名とエラーはログにあります。',
    ],
  'Administrator: set `issuer` to the value that the provider publishes. The log names both.': [
    'Administration: Setzen Sie `issuer` auf den Wert, den der Anbieter veröffentlicht. Das Log nennt beide.',
    'Administrador: asigne a `issuer` el valor que publica el proveedor. El registro indica ambos.',
    'Administrateur : définissez `issuer` sur la valeur publiée par le fournisseur. Le journal indique les deux.',
    '管理者: `issuer` にプロバイダーが公開している値を設定してください。両方の値はログにあります。',
  ],
  'Administrator: sync both clocks with NTP. The log says by how many seconds they differ.': [
    'Administration: Stellen Sie beide Uhren über NTP. Das Log sagt, um wie viele Sekunden sie abweichen.',
    'Administrador: sincronice ambos relojes con NTP. El registro indica la diferencia en segundos.',
    'Administrateur : synchronisez les deux horloges par NTP. Le journal indique l’écart en secondes.',
    '管理者: 両方の時計を NTP で同期してください。ずれの秒数はログにあります。',
  ],
  'Administrator: `postern blocks ls` lists blocks, `postern blocks rm` lifts one.': [
    'Administration: `postern blocks ls` listet Sperren auf, `postern blocks rm` hebt eine auf.',
    'Administrador: `postern blocks ls` muestra los bloqueos y `postern blocks rm` levanta uno.',
    'Administrateur : `postern blocks ls` liste les blocages, `postern blocks rm` en lève un.',
    '管理者: `postern blocks ls` でブロックを一覧し、`postern blocks rm` で解除できます。',
  ],
  'Administrator: activate the user at the identity provider. It tells this gateway over SCIM; `postern blocks` does not list the user.':
    [
      'Administration: Aktivieren Sie den Benutzer beim Identitätsanbieter. Er meldet es diesem Gateway über SCIM; `postern blocks` führt den Benutzer nicht auf.',
      'Administrador: active el usuario en el proveedor de identidad, que lo comunica a esta puerta de enlace por SCIM; `postern blocks` no muestra al usuario.',
      'Administrateur : activez l’utilisateur chez le fournisseur d’identité. Celui-ci prévient cette passerelle par SCIM ; `postern blocks` ne liste pas l’utilisateur.',
      '管理者: ID プロバイダーでユーザーを有効にしてください。変更は SCIM でこのゲートウェイに伝わります。`postern blocks` には表示されません。',
    ],
  'Administrator: `postern policy explain` shows which access rule is missing.': [
    'Administration: `postern policy explain` zeigt, welche Zugriffsregel fehlt.',
    'Administrador: `postern policy explain` muestra qué regla de acceso falta.',
    'Administrateur : `postern policy explain` montre quelle règle d’accès manque.',
    '管理者: 不足しているアクセスルールは `postern policy explain` で確認できます。',
  ],
  'Developer: serve JSON of at most 5 kB at the exact `client_id` URL, without redirects. It must include `client_id`, `client_name` and `redirect_uris`.':
    [
      'Entwickler: Liefern Sie genau unter der `client_id`-URL JSON von höchstens 5 kB aus, ohne Weiterleitungen. Es muss `client_id`, `client_name` und `redirect_uris` enthalten.',
      'Desarrollador: sirva un JSON de 5 kB como máximo exactamente en la URL de `client_id`, sin redirecciones. Debe incluir `client_id`, `client_name` y `redirect_uris`.',
      'Développeur : servez un JSON de 5 ko au plus à l’URL exacte de `client_id`, sans redirection. Il doit contenir `client_id`, `client_name` et `redirect_uris`.',
      '開発者: `client_id` の URL そのもので、リダイレクトなしに 5 kB 以内の JSON を返してください。`client_id`、`client_name`、`redirect_uris` が必要です。',
    ],
  'Administrator: allow outbound requests to that host (set `HTTPS_PROXY` if you use a proxy). Or set `client_metadata_documents: false`, so that apps register instead.':
    [
      'Administration: Erlauben Sie ausgehende Anfragen an diesen Host (mit Proxy: setzen Sie `HTTPS_PROXY`). Oder setzen Sie `client_metadata_documents: false`; dann registrieren sich Apps stattdessen.',
      'Administrador: permita las solicitudes salientes a ese host (defina `HTTPS_PROXY` si usa un proxy). O defina `client_metadata_documents: false` para que las aplicaciones se registren.',
      'Administrateur : autorisez les requêtes sortantes vers cet hôte (définissez `HTTPS_PROXY` si vous utilisez un proxy). Ou définissez `client_metadata_documents: false` : les applications s’enregistrent alors.',
      '管理者: そのホストへの外向きのリクエストを許可してください(プロキシを使う場合は `HTTPS_PROXY` を設定)。または `client_metadata_documents: false` を設定すると、アプリは代わりに登録を行います。',
    ],
  'Administrator: set `upstream_auth` for the service, such as `type: static` with the `token` or `headers` that the server expects. The log has the server’s response under the reference below.':
    [
      'Administration: Setzen Sie `upstream_auth` für den Dienst, zum Beispiel `type: static` mit dem `token` oder den `headers`, die der Server erwartet. Die Antwort des Servers steht im Log unter der Referenz unten.',
      'Administrador: defina `upstream_auth` para el servicio, por ejemplo `type: static` con el `token` o los `headers` que espera el servidor. La respuesta del servidor está en el registro con la referencia que aparece abajo.',
      'Administrateur : définissez `upstream_auth` pour le service, par exemple `type: static` avec le `token` ou les `headers` attendus par le serveur. La réponse du serveur figure dans le journal sous la référence ci-dessous.',
      '管理者: サービスに `upstream_auth` を設定してください。例: `type: static` と、サーバーが求める `token` または `headers`。サーバーの応答は、下の参照番号でログから確認できます。',
    ],
  'Administrator: the log has the mismatch under the reference below. If this is intended, allow it in `upstream_auth` for the service.':
    [
      'Administration: Die Abweichung steht im Log unter der Referenz unten. Wenn sie gewollt ist, erlauben Sie sie in `upstream_auth` des Dienstes.',
      'Administrador: la discrepancia está en el registro con la referencia que aparece abajo. Si es intencionada, permítala en `upstream_auth` del servicio.',
      'Administrateur : l’écart figure dans le journal sous la référence ci-dessous. S’il est voulu, autorisez-le dans `upstream_auth` du service.',
      '管理者: 不一致の内容は、下の参照番号でログから確認できます。意図したものであれば、サービスの `upstream_auth` で許可してください。',
    ],
  'Administrator: register the gateway with the authorization server, using the redirect URI above. Then set `client_id` and `issuer` in `upstream_auth` for the service.':
    [
      'Administration: Registrieren Sie das Gateway beim Autorisierungsserver mit der Redirect-URI oben. Setzen Sie dann `client_id` und `issuer` in `upstream_auth` des Dienstes.',
      'Administrador: registre la puerta de enlace en el servidor de autorización con la URI de redirección de arriba. Después, defina `client_id` e `issuer` en `upstream_auth` del servicio.',
      'Administrateur : enregistrez la passerelle auprès du serveur d’autorisation avec l’URI de redirection ci-dessus. Définissez ensuite `client_id` et `issuer` dans `upstream_auth` du service.',
      '管理者: 上のリダイレクト URI を使って、ゲートウェイを認可サーバーに登録してください。その後、サービスの `upstream_auth` に `client_id` と `issuer` を設定します。',
    ],
})
