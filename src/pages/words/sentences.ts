// Sentences that other modules say in English, on pages and elsewhere: refusals, and what was wrong with a form.
import { words } from '../../kit/language.ts'

export const sentenceWords = words({
  // requests
  'The request is malformed.': [
    'Die Anfrage ist fehlerhaft.',
    'La solicitud no es válida.',
    'La requête est mal formée.',
    'リクエストの形式が正しくありません。',
  ],
  'The Host header is missing, repeated or malformed.': [
    'Der Host-Header fehlt, ist mehrfach vorhanden oder fehlerhaft.',
    'La cabecera Host falta, está repetida o no es válida.',
    'L’en-tête Host est absent, répété ou mal formé.',
    'Host ヘッダーがない、重複している、または形式が正しくありません。',
  ],
  'This gateway does not serve that host name. Use its public URL, or add the host to allowed_hosts.': [
    'Dieses Gateway bedient diesen Hostnamen nicht. Verwenden Sie seine öffentliche URL, oder tragen Sie den Host unter allowed_hosts ein.',
    'Esta puerta de enlace no atiende ese nombre de host. Use su URL pública o añada el host a allowed_hosts.',
    'Cette passerelle ne dessert pas ce nom d’hôte. Utilisez son URL publique, ou ajoutez l’hôte à allowed_hosts.',
    'このゲートウェイはそのホスト名に対応していません。公開 URL を使うか、ホストを allowed_hosts に追加してください。',
  ],
  'This URL does not support that HTTP method.': [
    'Diese URL unterstützt diese HTTP-Methode nicht.',
    'Esta URL no admite ese método HTTP.',
    'Cette URL n’accepte pas cette méthode HTTP.',
    'この URL はその HTTP メソッドに対応していません。',
  ],
  'The Content-Type is not supported.': [
    'Der Content-Type wird nicht unterstützt.',
    'El Content-Type no es compatible.',
    'Le Content-Type n’est pas pris en charge.',
    'Content-Type に対応していません。',
  ],
  'The request is too large for this endpoint.': [
    'Die Anfrage ist für diesen Endpunkt zu groß.',
    'La solicitud es demasiado grande para este punto de conexión.',
    'La requête est trop volumineuse pour ce point d’accès.',
    'リクエストがこのエンドポイントの上限を超えています。',
  ],
  'The request timed out before it was complete.': [
    'Die Anfrage wurde nicht rechtzeitig vollständig übertragen.',
    'La solicitud agotó el tiempo de espera antes de completarse.',
    'Le délai a expiré avant que la requête soit complète.',
    'リクエストが完了する前にタイムアウトしました。',
  ],
  'This gateway accepts HTTPS only. Use its https URL. If you sent a token, revoke it: it was not encrypted in transit.':
    [
      'Dieses Gateway nimmt nur HTTPS an. Verwenden Sie seine https-URL. Wenn Sie ein Token gesendet haben, widerrufen Sie es: Es wurde unverschlüsselt übertragen.',
      'Esta puerta de enlace solo acepta HTTPS. Use su URL https. Si envió un token, revóquelo: no se cifró durante el envío.',
      'Cette passerelle n’accepte que HTTPS. Utilisez son URL https. Si vous avez envoyé un jeton, révoquez-le : il n’a pas été chiffré pendant le transport.',
      'このゲートウェイは HTTPS のみ受け付けます。https の URL を使ってください。トークンを送信した場合は、暗号化されずに送られたため失効させてください。',
    ],
  'There is nothing at this URL.': [
    'Unter dieser URL gibt es nichts.',
    'No hay nada en esta URL.',
    'Il n’y a rien à cette URL.',
    'この URL には何もありません。',
  ],
  'Too many sign-in attempts at once. Try again in a moment.': [
    'Zu viele gleichzeitige Anmeldeversuche. Versuchen Sie es gleich noch einmal.',
    'Demasiados intentos de inicio de sesión a la vez. Inténtelo de nuevo dentro de un momento.',
    'Trop de tentatives de connexion simultanées. Réessayez dans un instant.',
    '同時にログインしようとした回数が多すぎます。しばらくしてからもう一度お試しください。',
  ],
  'Too many requests. Wait a moment, then try again.': [
    'Zu viele Anfragen. Warten Sie einen Moment und versuchen Sie es dann erneut.',
    'Demasiadas solicitudes. Espere un momento e inténtelo de nuevo.',
    'Trop de requêtes. Patientez un instant, puis réessayez.',
    'リクエストが多すぎます。しばらく待ってから、もう一度お試しください。',
  ],
  'The gateway cannot reach its storage. Try again in a moment.': [
    'Das Gateway erreicht seinen Speicher nicht. Versuchen Sie es gleich noch einmal.',
    'La puerta de enlace no puede acceder a su almacenamiento. Inténtelo de nuevo dentro de un momento.',
    'La passerelle ne peut pas joindre son stockage. Réessayez dans un instant.',
    'ゲートウェイがストレージに接続できません。しばらくしてからもう一度お試しください。',
  ],
  'The gateway cannot decrypt its stored data. The administrator must restore the secret that encrypted it.':
    [
      'Das Gateway kann seine gespeicherten Daten nicht entschlüsseln. Die Administration muss das Geheimnis wiederherstellen, mit dem sie verschlüsselt wurden.',
      'La puerta de enlace no puede descifrar sus datos. El administrador debe restaurar el secreto con el que se cifraron.',
      'La passerelle ne peut pas déchiffrer ses données. L’administrateur doit rétablir le secret qui a servi à les chiffrer.',
      'ゲートウェイが保存データを復号できません。管理者が、暗号化に使ったシークレットを復元する必要があります。',
    ],
  'Internal error. The administrator can find it in the log by the request id.': [
    'Interner Fehler. Die Administration findet ihn im Log anhand der Request-ID.',
    'Error interno. El administrador puede encontrarlo en el registro con el identificador de la solicitud.',
    'Erreur interne. L’administrateur peut la retrouver dans le journal grâce à l’identifiant de la requête.',
    '内部エラーです。管理者はリクエスト ID からログの該当箇所を確認できます。',
  ],
  'The gateway is not allowed to connect to that address.': [
    'Das Gateway darf sich nicht mit dieser Adresse verbinden.',
    'La puerta de enlace no tiene permitido conectarse a esa dirección.',
    'La passerelle n’est pas autorisée à se connecter à cette adresse.',
    'ゲートウェイはそのアドレスへの接続を許可されていません。',
  ],
  'A server that this step depends on did not respond as expected.': [
    'Ein Server, auf den dieser Schritt angewiesen ist, hat nicht wie erwartet geantwortet.',
    'Un servidor del que depende este paso no ha respondido como se esperaba.',
    'Un serveur dont dépend cette étape n’a pas répondu comme prévu.',
    'この手順に必要なサーバーから想定どおりの応答がありませんでした。',
  ],

  'Administrator access is required. Administrators are listed under admins in the configuration.': [
    'Dafür sind Administratorrechte nötig. Wer sie hat, steht in der Konfiguration unter admins.',
    'Se requiere acceso de administrador. Los administradores figuran en admins, en la configuración.',
    'Un accès administrateur est requis. Les administrateurs figurent sous admins dans la configuration.',
    '管理者の権限が必要です。管理者は設定ファイルの admins に記載されています。',
  ],
  'This would block the last administrator.': [
    'Damit würde das letzte Administratorkonto gesperrt.',
    'Esto bloquearía al último administrador.',
    'Cela bloquerait le dernier administrateur.',
    '最後の管理者をブロックすることになります。',
  ],

  // sign-in
  'This form has expired or was sent from another site. Open the sign-in page again.': [
    'Dieses Formular ist abgelaufen oder wurde von einer anderen Website gesendet. Öffnen Sie die Anmeldeseite erneut.',
    'Este formulario ha caducado o se ha enviado desde otro sitio. Abra de nuevo la página de inicio de sesión.',
    'Ce formulaire a expiré ou a été envoyé depuis un autre site. Rouvrez la page de connexion.',
    'このフォームは期限切れか、別のサイトから送信されました。ログインページを開き直してください。',
  ],
  'Sign in to continue.': [
    'Melden Sie sich an, um fortzufahren.',
    'Inicie sesión para continuar.',
    'Connectez-vous pour continuer.',
    '続けるにはログインしてください。',
  ],
  'The sign-in link is not valid. Each link works once, within 15 minutes.': [
    'Der Anmeldelink ist nicht gültig. Jeder Link funktioniert einmal, innerhalb von 15 Minuten.',
    'El enlace de inicio de sesión no es válido. Cada enlace funciona una sola vez, durante 15 minutos.',
    'Le lien de connexion n’est pas valable. Chaque lien fonctionne une seule fois, pendant 15 minutes.',
    'ログインリンクが無効です。リンクは 15 分以内に一度だけ使えます。',
  ],
  'This sign-in has expired or is already complete. A sign-in must finish within ten minutes.': [
    'Diese Anmeldung ist abgelaufen oder schon abgeschlossen. Eine Anmeldung muss innerhalb von zehn Minuten fertig sein.',
    'Este inicio de sesión ha caducado o ya se ha completado. Debe terminarse antes de diez minutos.',
    'Cette connexion a expiré ou est déjà terminée. Elle doit être terminée dans les dix minutes.',
    'このログインは期限切れか、完了済みです。ログインは 10 分以内に終える必要があります。',
  ],
  'This sign-in was started in another browser.': [
    'Diese Anmeldung wurde in einem anderen Browser begonnen.',
    'Este inicio de sesión se inició en otro navegador.',
    'Cette connexion a été commencée dans un autre navigateur.',
    'このログインは別のブラウザーで開始されました。',
  ],
  'This identity provider is not configured.': [
    'Dieser Identitätsanbieter ist nicht eingerichtet.',
    'Este proveedor de identidad no está configurado.',
    'Ce fournisseur d’identité n’est pas configuré.',
    'この ID プロバイダーは設定されていません。',
  ],
  'The identity provider denied the sign-in.': [
    'Der Identitätsanbieter hat die Anmeldung abgelehnt.',
    'El proveedor de identidad ha denegado el inicio de sesión.',
    'Le fournisseur d’identité a refusé la connexion.',
    'ID プロバイダーがログインを拒否しました。',
  ],
  'The response of the identity provider failed validation, so you were not signed in.': [
    'Die Antwort des Identitätsanbieters hat die Prüfung nicht bestanden, deshalb wurden Sie nicht angemeldet.',
    'La respuesta del proveedor de identidad no ha superado la validación, por lo que no se ha iniciado la sesión.',
    'La réponse du fournisseur d’identité n’a pas pu être validée ; vous n’avez donc pas été connecté.',
    'ID プロバイダーの応答を検証できなかったため、ログインしていません。',
  ],
  'The identity provider did not respond as expected. Try again in a moment.': [
    'Der Identitätsanbieter hat nicht wie erwartet geantwortet. Versuchen Sie es gleich noch einmal.',
    'El proveedor de identidad no ha respondido como se esperaba. Inténtelo de nuevo dentro de un momento.',
    'Le fournisseur d’identité n’a pas répondu comme prévu. Réessayez dans un instant.',
    'ID プロバイダーから想定どおりの応答がありませんでした。しばらくしてからもう一度お試しください。',
  ],
  'The identity provider rejected this gateway as a client, so nobody can sign in with it. Contact your administrator.':
    [
      'Der Identitätsanbieter hat dieses Gateway als Client abgewiesen, deshalb kann sich niemand darüber anmelden. Wenden Sie sich an Ihre Administration.',
      'El proveedor de identidad ha rechazado esta puerta de enlace como cliente, así que nadie puede iniciar sesión con él. Póngase en contacto con su administrador.',
      'Le fournisseur d’identité a rejeté cette passerelle en tant que client ; personne ne peut donc se connecter par son intermédiaire. Contactez votre administrateur.',
      'ID プロバイダーがこのゲートウェイをクライアントとして受け入れないため、誰もログインできません。管理者に連絡してください。',
    ],
  'The issuer of the identity provider does not match the configuration, so nobody can sign in with it. Contact your administrator.':
    [
      'Der Issuer des Identitätsanbieters stimmt nicht mit der Konfiguration überein, deshalb kann sich niemand darüber anmelden. Wenden Sie sich an Ihre Administration.',
      'El emisor del proveedor de identidad no coincide con la configuración, así que nadie puede iniciar sesión con él. Póngase en contacto con su administrador.',
      'L’émetteur du fournisseur d’identité ne correspond pas à la configuration ; personne ne peut donc se connecter par son intermédiaire. Contactez votre administrateur.',
      'ID プロバイダーの発行者が設定と一致しないため、誰もログインできません。管理者に連絡してください。',
    ],
  'The clocks of the gateway and the identity provider differ too much, so nobody can sign in with it. Contact your administrator.':
    [
      'Die Uhren des Gateways und des Identitätsanbieters weichen zu stark voneinander ab, deshalb kann sich niemand darüber anmelden. Wenden Sie sich an Ihre Administration.',
      'Los relojes de la puerta de enlace y del proveedor de identidad difieren demasiado, así que nadie puede iniciar sesión con él. Póngase en contacto con su administrador.',
      'Les horloges de la passerelle et du fournisseur d’identité diffèrent trop ; personne ne peut donc se connecter par son intermédiaire. Contactez votre administrateur.',
      'ゲートウェイと ID プロバイダーの時計のずれが大きすぎるため、誰もログインできません。管理者に連絡してください。',
    ],
  'Your account is not allowed to sign in to this gateway.': [
    'Ihr Konto ist für dieses Gateway nicht zugelassen.',
    'Su cuenta no tiene permiso para iniciar sesión en esta puerta de enlace.',
    'Votre compte n’est pas autorisé à se connecter à cette passerelle.',
    'あなたのアカウントは、このゲートウェイへのログインを許可されていません。',
  ],
  'Your account is blocked on this gateway. Contact your administrator.': [
    'Ihr Konto ist auf diesem Gateway gesperrt. Wenden Sie sich an Ihre Administration.',
    'Su cuenta está bloqueada en esta puerta de enlace. Póngase en contacto con su administrador.',
    'Votre compte est bloqué sur cette passerelle. Contactez votre administrateur.',
    'あなたのアカウントは、このゲートウェイでブロックされています。管理者に連絡してください。',
  ],
  'Your account was deactivated in your company directory. Contact the administrator of the directory.': [
    'Ihr Konto wurde im Verzeichnis Ihres Unternehmens deaktiviert. Wenden Sie sich an die Administration des Verzeichnisses.',
    'Su cuenta se ha desactivado en el directorio de su empresa. Póngase en contacto con el administrador del directorio.',
    'Votre compte a été désactivé dans l’annuaire de votre entreprise. Contactez l’administrateur de l’annuaire.',
    'あなたのアカウントは会社のディレクトリで無効になっています。ディレクトリの管理者に連絡してください。',
  ],
  'Invalid credentials. Check the username and the password, then try again.': [
    'Ungültige Anmeldedaten. Prüfen Sie Benutzername und Passwort und versuchen Sie es erneut.',
    'Credenciales no válidas. Compruebe el nombre de usuario y la contraseña e inténtelo de nuevo.',
    'Identifiants non valides. Vérifiez le nom d’utilisateur et le mot de passe, puis réessayez.',
    '認証情報が正しくありません。ユーザー名とパスワードを確認して、もう一度お試しください。',
  ],
  'Enter an email address such as ana@example.com.': [
    'Geben Sie eine E-Mail-Adresse wie ana@example.com ein.',
    'Introduzca un correo electrónico como ana@example.com.',
    'Saisissez une adresse e-mail, par exemple ana@example.com.',
    'ana@example.com のようなメールアドレスを入力してください。',
  ],
  'Sign in with this browser': [
    'Mit diesem Browser anmelden',
    'Iniciar sesión con este navegador',
    'Se connecter avec ce navigateur',
    'このブラウザーでログイン',
  ],
  'Accounts with a verified email address.': [
    'Konten mit bestätigter E-Mail-Adresse.',
    'Cuentas con correo electrónico verificado.',
    'Comptes avec une adresse e-mail vérifiée.',
    'メールアドレスが確認済みのアカウント。',
  ],
  'Accounts with a verified email address at {domains}.': [
    'Konten mit bestätigter E-Mail-Adresse bei {domains}.',
    'Cuentas con correo electrónico verificado de {domains}.',
    'Comptes avec une adresse e-mail vérifiée de {domains}.',
    '{domains} の確認済みメールアドレスを持つアカウント。',
  ],
  'Google Workspace accounts at {domains}.': [
    'Google-Workspace-Konten bei {domains}.',
    'Cuentas de Google Workspace de {domains}.',
    'Comptes Google Workspace de {domains}.',
    '{domains} の Google Workspace アカウント。',
  ],
  'Accounts of the organizations that the administrator allowed.': [
    'Konten der Organisationen, die die Administration zugelassen hat.',
    'Cuentas de las organizaciones que ha permitido el administrador.',
    'Comptes des organisations autorisées par l’administrateur.',
    '管理者が許可した組織のアカウント。',
  ],
  'Members of the groups that the administrator allowed.': [
    'Mitglieder der Gruppen, die die Administration zugelassen hat.',
    'Miembros de los grupos que ha permitido el administrador.',
    'Membres des groupes autorisés par l’administrateur.',
    '管理者が許可したグループのメンバー。',
  ],
  'Accounts on the administrator’s list.': [
    'Konten auf der Liste der Administration.',
    'Cuentas de la lista del administrador.',
    'Comptes de la liste de l’administrateur.',
    '管理者の一覧にあるアカウント。',
  ],

  // apps
  'An administrator has blocked this app or account. Contact your administrator.': [
    'Die Administration hat diese App oder dieses Konto gesperrt. Wenden Sie sich an Ihre Administration.',
    'Un administrador ha bloqueado esta aplicación o cuenta. Póngase en contacto con su administrador.',
    'Un administrateur a bloqué cette application ou ce compte. Contactez votre administrateur.',
    '管理者がこのアプリまたはアカウントをブロックしました。管理者に連絡してください。',
  ],
  'The form was not sent from a page of this gateway, or the session has ended, so nothing was changed. Open the page again.':
    [
      'Das Formular wurde nicht von einer Seite dieses Gateways gesendet, oder die Sitzung ist beendet. Deshalb wurde nichts geändert. Öffnen Sie die Seite erneut.',
      'El formulario no se envió desde una página de esta puerta de enlace, o la sesión ha terminado, así que no se ha cambiado nada. Abra la página de nuevo.',
      'Le formulaire n’a pas été envoyé depuis une page de cette passerelle, ou la session est terminée ; rien n’a donc été modifié. Rouvrez la page.',
      'フォームがこのゲートウェイのページから送信されていないか、セッションが終了したため、変更していません。ページを開き直してください。',
    ],
  'The form was not sent from a page of this gateway, or the session has ended. Open the page again.': [
    'Das Formular wurde nicht von einer Seite dieses Gateways gesendet, oder die Sitzung ist beendet. Öffnen Sie die Seite erneut.',
    'El formulario no se envió desde una página de esta puerta de enlace, o la sesión ha terminado. Abra la página de nuevo.',
    'Le formulaire n’a pas été envoyé depuis une page de cette passerelle, ou la session est terminée. Rouvrez la page.',
    'フォームがこのゲートウェイのページから送信されていないか、セッションが終了しました。ページを開き直してください。',
  ],
  'The form was not sent from a page of this gateway, so nothing was saved. Open the page again.': [
    'Das Formular wurde nicht von einer Seite dieses Gateways gesendet, deshalb wurde nichts gespeichert. Öffnen Sie die Seite erneut.',
    'El formulario no se envió desde una página de esta puerta de enlace, así que no se ha guardado nada. Abra la página de nuevo.',
    'Le formulaire n’a pas été envoyé depuis une page de cette passerelle ; rien n’a donc été enregistré. Rouvrez la page.',
    'フォームがこのゲートウェイのページから送信されていないため、保存していません。ページを開き直してください。',
  ],
  'This gateway does not recognize the app that sent you here. Its registration was removed or has expired. Remove the connector in the app, then add it again.':
    [
      'Dieses Gateway kennt die App nicht, die Sie hierher geschickt hat. Ihre Registrierung wurde entfernt oder ist abgelaufen. Entfernen Sie den Connector in der App und fügen Sie ihn neu hinzu.',
      'Esta puerta de enlace no reconoce la aplicación que le ha enviado aquí. Su registro se ha eliminado o ha caducado. Elimine el conector en la aplicación y vuelva a añadirlo.',
      'Cette passerelle ne reconnaît pas l’application qui vous a envoyé ici. Son enregistrement a été supprimé ou a expiré. Supprimez le connecteur dans l’application, puis ajoutez-le à nouveau.',
      'ここに移動してきたアプリを、このゲートウェイは認識していません。登録が削除されたか、期限切れです。アプリでコネクターを削除し、追加し直してください。',
    ],
  "The client metadata document of the app is invalid. The app's developer must fix it.": [
    'Das Client-Metadaten-Dokument der App ist ungültig. Der Entwickler der App muss es korrigieren.',
    'El documento de metadatos del cliente de la aplicación no es válido. El desarrollador debe corregirlo.',
    'Le document de métadonnées du client de l’application n’est pas valide. Le développeur de l’application doit le corriger.',
    'アプリのクライアントメタデータドキュメントが無効です。アプリの開発者による修正が必要です。',
  ],
  "The client metadata document of the app was not found. The app's developer must fix it.": [
    'Das Client-Metadaten-Dokument der App wurde nicht gefunden. Der Entwickler der App muss dies beheben.',
    'No se ha encontrado el documento de metadatos del cliente de la aplicación. El desarrollador debe corregirlo.',
    'Le document de métadonnées du client de l’application est introuvable. Le développeur de l’application doit corriger cela.',
    'アプリのクライアントメタデータドキュメントが見つかりません。アプリの開発者による修正が必要です。',
  ],
  'The metadata document or the keys of the client cannot be fetched. Try again in a moment.': [
    'Das Metadaten-Dokument oder die Schlüssel des Clients können nicht abgerufen werden. Versuchen Sie es gleich noch einmal.',
    'No se pueden obtener el documento de metadatos o las claves del cliente. Inténtelo de nuevo dentro de un momento.',
    'Le document de métadonnées ou les clés du client sont inaccessibles. Réessayez dans un instant.',
    'クライアントのメタデータドキュメントまたは鍵を取得できません。しばらくしてからもう一度お試しください。',
  ],
  'The client metadata document of the app at {host} could not be fetched.': [
    'Das Client-Metadaten-Dokument der App bei {host} konnte nicht abgerufen werden.',
    'No se ha podido obtener el documento de metadatos del cliente de la aplicación en {host}.',
    'Le document de métadonnées du client de l’application sur {host} n’a pas pu être récupéré.',
    '{host} にあるアプリのクライアントメタデータドキュメントを取得できませんでした。',
  ],
  'The client metadata document of the app at {host} could not be fetched: {cause}.': [
    'Das Client-Metadaten-Dokument der App bei {host} konnte nicht abgerufen werden: {cause}.',
    'No se ha podido obtener el documento de metadatos del cliente de la aplicación en {host}: {cause}.',
    'Le document de métadonnées du client de l’application sur {host} n’a pas pu être récupéré : {cause}.',
    '{host} にあるアプリのクライアントメタデータドキュメントを取得できませんでした: {cause}。',
  ],
  'it responded with status {status}': [
    'Der Server hat mit Status {status} geantwortet',
    'el servidor respondió con el estado {status}',
    'le serveur a répondu avec le statut {status}',
    'サーバーの応答ステータスは {status} でした',
  ],
  'the HTTP proxy of this gateway could not connect to it': [
    'Der HTTP-Proxy dieses Gateways konnte sich nicht mit dem Server verbinden',
    'el proxy HTTP de esta puerta de enlace no pudo conectarse al servidor',
    'le proxy HTTP de cette passerelle n’a pas pu s’y connecter',
    'このゲートウェイの HTTP プロキシが接続できませんでした',
  ],
  'its name could not be resolved (DNS)': [
    'Der Name konnte nicht aufgelöst werden (DNS)',
    'no se pudo resolver su nombre (DNS)',
    'son nom n’a pas pu être résolu (DNS)',
    '名前を解決できませんでした(DNS)',
  ],
  'it refused the connection': [
    'Der Server hat die Verbindung abgelehnt',
    'el servidor rechazó la conexión',
    'le serveur a refusé la connexion',
    '接続が拒否されました',
  ],
  'its TLS certificate is not trusted, or it does not support TLS': [
    'Dem TLS-Zertifikat wird nicht vertraut, oder der Server unterstützt kein TLS',
    'su certificado TLS no es de confianza, o el servidor no admite TLS',
    'son certificat TLS n’est pas approuvé, ou le serveur n’accepte pas TLS',
    'TLS 証明書を信頼できないか、TLS に対応していません',
  ],
  'it did not respond in time': [
    'Der Server hat nicht rechtzeitig geantwortet',
    'el servidor no respondió a tiempo',
    'le serveur n’a pas répondu à temps',
    '時間内に応答がありませんでした',
  ],
  'there is no route to it': [
    'Es gibt keine Route dorthin',
    'no hay ninguna ruta hasta el servidor',
    'aucune route n’y mène',
    '到達できる経路がありません',
  ],
  "The app requested a redirect URI that is not registered, so nothing was sent to it. The app's developer must register it.":
    [
      'Die App hat eine Redirect-URI angefragt, die nicht registriert ist. Deshalb wurde nichts dorthin gesendet. Der Entwickler der App muss sie registrieren.',
      'La aplicación ha solicitado una URI de redirección que no está registrada, así que no se le ha enviado nada. El desarrollador debe registrarla.',
      'L’application a demandé une URI de redirection qui n’est pas enregistrée ; rien ne lui a donc été envoyé. Le développeur de l’application doit l’enregistrer.',
      'アプリが要求したリダイレクト URI は登録されていないため、何も送信していません。アプリの開発者による登録が必要です。',
    ],
  'A parameter was sent more than once.': [
    'Ein Parameter wurde mehrfach gesendet.',
    'Un parámetro se ha enviado más de una vez.',
    'Un paramètre a été envoyé plusieurs fois.',
    'パラメーターが重複しています。',
  ],
  'The parameter {name} was sent more than once.': [
    'Der Parameter {name} wurde mehrfach gesendet.',
    'El parámetro {name} se ha enviado más de una vez.',
    'Le paramètre {name} a été envoyé plusieurs fois.',
    'パラメーター {name} が重複しています。',
  ],
  'Request objects are not supported. Send the parameters directly.': [
    'Request-Objekte werden nicht unterstützt. Senden Sie die Parameter direkt.',
    'No se admiten objetos de solicitud. Envíe los parámetros directamente.',
    'Les objets de requête ne sont pas pris en charge. Envoyez les paramètres directement.',
    'リクエストオブジェクトには対応していません。パラメーターを直接送信してください。',
  ],
  'request_uri is not supported. Send the parameters directly.': [
    'request_uri wird nicht unterstützt. Senden Sie die Parameter direkt.',
    'No se admite request_uri. Envíe los parámetros directamente.',
    'request_uri n’est pas pris en charge. Envoyez les paramètres directement.',
    'request_uri には対応していません。パラメーターを直接送信してください。',
  ],
  'The registration parameter is not supported. Use the registration endpoint or a metadata document.': [
    'Der Parameter registration wird nicht unterstützt. Verwenden Sie den Registrierungsendpunkt oder ein Metadaten-Dokument.',
    'No se admite el parámetro registration. Use el punto de registro o un documento de metadatos.',
    'Le paramètre registration n’est pas pris en charge. Utilisez le point d’enregistrement ou un document de métadonnées.',
    'registration パラメーターには対応していません。登録エンドポイントまたはメタデータドキュメントを使ってください。',
  ],
  'response_type must be code.': [
    'response_type muss code sein.',
    'response_type debe ser code.',
    'response_type doit être code.',
    'response_type は code でなければなりません。',
  ],
  'response_type is required.': [
    'response_type ist erforderlich.',
    'response_type es obligatorio.',
    'response_type est obligatoire.',
    'response_type は必須です。',
  ],
  'response_mode must be query.': [
    'response_mode muss query sein.',
    'response_mode debe ser query.',
    'response_mode doit être query.',
    'response_mode は query でなければなりません。',
  ],
  'code_challenge is required (PKCE).': [
    'code_challenge ist erforderlich (PKCE).',
    'code_challenge es obligatorio (PKCE).',
    'code_challenge est obligatoire (PKCE).',
    'code_challenge は必須です(PKCE)。',
  ],
  'code_challenge_method must be S256.': [
    'code_challenge_method muss S256 sein.',
    'code_challenge_method debe ser S256.',
    'code_challenge_method doit être S256.',
    'code_challenge_method は S256 でなければなりません。',
  ],
  'code_challenge must be the base64url-encoded SHA-256 hash of code_verifier (43 characters).': [
    'code_challenge muss der base64url-kodierte SHA-256-Hash von code_verifier sein (43 Zeichen).',
    'code_challenge debe ser el hash SHA-256 de code_verifier codificado en base64url (43 caracteres).',
    'code_challenge doit être le hachage SHA-256 de code_verifier encodé en base64url (43 caractères).',
    'code_challenge は、code_verifier の SHA-256 ハッシュを base64url で符号化したもの(43 文字)でなければなりません。',
  ],
  'The resource parameter must identify one protected service of this gateway.': [
    'Der Parameter resource muss genau einen geschützten Dienst dieses Gateways bezeichnen.',
    'El parámetro resource debe identificar un servicio protegido de esta puerta de enlace.',
    'Le paramètre resource doit désigner un service protégé de cette passerelle.',
    'resource パラメーターには、このゲートウェイの保護されたサービスを一つ指定する必要があります。',
  ],
  'This authorization request has expired or does not exist. Return to the app and connect again.': [
    'Diese Autorisierungsanfrage ist abgelaufen oder existiert nicht. Kehren Sie zur App zurück und verbinden Sie sie erneut.',
    'Esta solicitud de autorización ha caducado o no existe. Vuelva a la aplicación y conéctela de nuevo.',
    'Cette demande d’autorisation a expiré ou n’existe pas. Revenez à l’application et connectez-la à nouveau.',
    'この認可リクエストは期限切れか、存在しません。アプリに戻って、もう一度接続してください。',
  ],
  'This request was started in another browser, or cookies are blocked. Continue in the original browser, or connect again from the app.':
    [
      'Diese Anfrage wurde in einem anderen Browser begonnen, oder Cookies sind blockiert. Fahren Sie im ursprünglichen Browser fort, oder verbinden Sie die App erneut.',
      'Esta solicitud se inició en otro navegador o las cookies están bloqueadas. Continúe en el navegador original o vuelva a conectar desde la aplicación.',
      'Cette demande a été commencée dans un autre navigateur, ou les cookies sont bloqués. Continuez dans le navigateur d’origine, ou reconnectez-vous depuis l’application.',
      'このリクエストは別のブラウザーで開始されたか、Cookie がブロックされています。元のブラウザーで続けるか、アプリからもう一度接続してください。',
    ],
  'This request was already completed. If the app is not connected, return to it and connect again.': [
    'Diese Anfrage ist bereits abgeschlossen. Wenn die App nicht verbunden ist, kehren Sie zu ihr zurück und verbinden Sie sie erneut.',
    'Esta solicitud ya se ha completado. Si la aplicación no está conectada, vuelva a ella y conéctela de nuevo.',
    'Cette demande est déjà terminée. Si l’application n’est pas connectée, revenez-y et connectez-la à nouveau.',
    'このリクエストは完了しています。アプリが接続できていない場合は、アプリに戻ってもう一度接続してください。',
  ],
  'The user must approve access first.': [
    'Der Zugriff muss zuerst erlaubt werden.',
    'Antes, el usuario debe aprobar el acceso.',
    'L’utilisateur doit d’abord autoriser l’accès.',
    '先にユーザーがアクセスを許可する必要があります。',
  ],
  'This service does not accept your sign-in method. Use another account, or contact your administrator.': [
    'Dieser Dienst akzeptiert Ihre Anmeldemethode nicht. Verwenden Sie ein anderes Konto, oder wenden Sie sich an Ihre Administration.',
    'Este servicio no acepta su método de inicio de sesión. Use otra cuenta o póngase en contacto con su administrador.',
    'Ce service n’accepte pas votre méthode de connexion. Utilisez un autre compte, ou contactez votre administrateur.',
    'このサービスでは、現在のログイン方法を使えません。別のアカウントを使うか、管理者に連絡してください。',
  ],
  'Your account has no access to this service. Ask your administrator.': [
    'Ihr Konto hat keinen Zugriff auf diesen Dienst. Fragen Sie Ihre Administration.',
    'Su cuenta no tiene acceso a este servicio. Consulte a su administrador.',
    'Votre compte n’a pas accès à ce service. Adressez-vous à votre administrateur.',
    'あなたのアカウントには、このサービスへのアクセス権がありません。管理者に問い合わせてください。',
  ],
  'This app may not be used with this service.': [
    'Diese App darf mit diesem Dienst nicht verwendet werden.',
    'Esta aplicación no se puede usar con este servicio.',
    'Cette application ne peut pas être utilisée avec ce service.',
    'このアプリは、このサービスでは使えません。',
  ],
  'The form is not one of the consent page.': [
    'Das Formular stammt nicht von der Zustimmungsseite.',
    'El formulario no es de la página de consentimiento.',
    'Le formulaire ne provient pas de la page de consentement.',
    'このフォームは許可ページのものではありません。',
  ],
  'decision must be allow or deny.': [
    'decision muss allow oder deny sein.',
    'decision debe ser allow o deny.',
    'decision doit être allow ou deny.',
    'decision は allow または deny でなければなりません。',
  ],
  'This code is not valid or has expired. Compare it with the code on your device, or start again there.': [
    'Dieser Code ist nicht gültig oder abgelaufen. Vergleichen Sie ihn mit dem Code auf Ihrem Gerät, oder beginnen Sie dort neu.',
    'Este código no es válido o ha caducado. Compárelo con el de su dispositivo o empiece allí de nuevo.',
    'Ce code n’est pas valable ou a expiré. Comparez-le avec celui de votre appareil, ou recommencez sur l’appareil.',
    'このコードは無効か、期限切れです。デバイスに表示されたコードと比べるか、デバイスでやり直してください。',
  ],
  'The device is in another network than this browser, and this gateway does not allow that. Sign in on the device’s network.':
    [
      'Das Gerät ist in einem anderen Netzwerk als dieser Browser, und dieses Gateway erlaubt das nicht. Melden Sie sich im Netzwerk des Geräts an.',
      'El dispositivo está en una red distinta de la de este navegador, y esta puerta de enlace no lo permite. Inicie sesión en la red del dispositivo.',
      'L’appareil est sur un autre réseau que ce navigateur, ce que cette passerelle n’autorise pas. Connectez-vous depuis le réseau de l’appareil.',
      'デバイスがこのブラウザーとは別のネットワークにあり、このゲートウェイでは許可されていません。デバイスと同じネットワークからログインしてください。',
    ],

  // accounts at MCP servers
  'The MCP server rejected the credentials of the gateway. The administrator must set upstream_auth.': [
    'Der MCP-Server hat die Zugangsdaten des Gateways abgelehnt. Die Administration muss upstream_auth setzen.',
    'El servidor MCP ha rechazado las credenciales de la puerta de enlace. El administrador debe definir upstream_auth.',
    'Le serveur MCP a refusé les identifiants de la passerelle. L’administrateur doit définir upstream_auth.',
    'MCP サーバーがゲートウェイの認証情報を拒否しました。管理者が upstream_auth を設定する必要があります。',
  ],
  '{service} requires a sign-in with the identity provider of your company.': [
    '{service} verlangt eine Anmeldung mit dem Identitätsanbieter Ihres Unternehmens.',
    '{service} requiere iniciar sesión con el proveedor de identidad de su empresa.',
    '{service} exige une connexion avec le fournisseur d’identité de votre entreprise.',
    '{service} を使うには、会社の ID プロバイダーでログインする必要があります。',
  ],
  'The authorization server of the MCP server did not respond as expected. Try again in a moment.': [
    'Der Autorisierungsserver des MCP-Servers hat nicht wie erwartet geantwortet. Versuchen Sie es gleich noch einmal.',
    'El servidor de autorización del servidor MCP no ha respondido como se esperaba. Inténtelo de nuevo dentro de un momento.',
    'Le serveur d’autorisation du serveur MCP n’a pas répondu comme prévu. Réessayez dans un instant.',
    'MCP サーバーの認可サーバーから想定どおりの応答がありませんでした。しばらくしてからもう一度お試しください。',
  ],
  'The OAuth metadata or response of the MCP server failed validation, so nothing was sent there.': [
    'Die OAuth-Metadaten oder die Antwort des MCP-Servers haben die Prüfung nicht bestanden, deshalb wurde nichts dorthin gesendet.',
    'Los metadatos OAuth o la respuesta del servidor MCP no han superado la validación, así que no se le ha enviado nada.',
    'Les métadonnées OAuth ou la réponse du serveur MCP n’ont pas pu être validées ; rien n’y a donc été envoyé.',
    'MCP サーバーの OAuth メタデータまたは応答を検証できなかったため、何も送信していません。',
  ],
  'The authorization server of the MCP server does not accept this gateway as a client. The administrator must register the gateway there and configure client_id.':
    [
      'Der Autorisierungsserver des MCP-Servers akzeptiert dieses Gateway nicht als Client. Die Administration muss das Gateway dort registrieren und client_id konfigurieren.',
      'El servidor de autorización del servidor MCP no acepta esta puerta de enlace como cliente. El administrador debe registrarla allí y configurar client_id.',
      'Le serveur d’autorisation du serveur MCP n’accepte pas cette passerelle comme client. L’administrateur doit l’y enregistrer et configurer client_id.',
      'MCP サーバーの認可サーバーが、このゲートウェイをクライアントとして受け入れません。管理者がゲートウェイを登録し、client_id を設定する必要があります。',
    ],
  'The authorization server of the MCP server denied access, so no account was connected.': [
    'Der Autorisierungsserver des MCP-Servers hat den Zugriff abgelehnt, deshalb wurde kein Konto verbunden.',
    'El servidor de autorización del servidor MCP ha denegado el acceso, así que no se ha conectado ninguna cuenta.',
    'Le serveur d’autorisation du serveur MCP a refusé l’accès ; aucun compte n’a donc été connecté.',
    'MCP サーバーの認可サーバーがアクセスを拒否したため、アカウントは接続されていません。',
  ],
  'The identity provider of your company denied access to the MCP server. Ask its administrator for access.':
    [
      'Der Identitätsanbieter Ihres Unternehmens hat den Zugriff auf den MCP-Server abgelehnt. Bitten Sie dessen Administration um Zugriff.',
      'El proveedor de identidad de su empresa ha denegado el acceso al servidor MCP. Pida acceso a su administrador.',
      'Le fournisseur d’identité de votre entreprise a refusé l’accès au serveur MCP. Demandez l’accès à son administrateur.',
      '会社の ID プロバイダーが MCP サーバーへのアクセスを拒否しました。その管理者にアクセス権を依頼してください。',
    ],
  'The MCP server requires a new sign-in with your identity provider. Sign in again, then try again.': [
    'Der MCP-Server verlangt eine neue Anmeldung bei Ihrem Identitätsanbieter. Melden Sie sich erneut an und versuchen Sie es dann noch einmal.',
    'El servidor MCP requiere un nuevo inicio de sesión con su proveedor de identidad. Vuelva a iniciar sesión e inténtelo de nuevo.',
    'Le serveur MCP exige une nouvelle connexion auprès de votre fournisseur d’identité. Reconnectez-vous, puis réessayez.',
    'MCP サーバーは、ID プロバイダーでの再ログインを求めています。もう一度ログインしてから、やり直してください。',
  ],
  '{service} requires you to sign in again. Open this link in your browser, then try again: {url}': [
    '{service} verlangt, dass Sie sich erneut anmelden. Öffnen Sie diesen Link in Ihrem Browser und versuchen Sie es dann noch einmal: {url}',
    '{service} requiere que vuelva a iniciar sesión. Abra este enlace en su navegador e inténtelo de nuevo: {url}',
    '{service} exige que vous vous reconnectiez. Ouvrez ce lien dans votre navigateur, puis réessayez : {url}',
    '{service} を使うには、もう一度ログインする必要があります。このリンクをブラウザーで開いてから、やり直してください: {url}',
  ],
  'This connection attempt has expired or is already complete. An attempt must finish within ten minutes.': [
    'Dieser Verbindungsversuch ist abgelaufen oder schon abgeschlossen. Ein Versuch muss innerhalb von zehn Minuten fertig sein.',
    'Este intento de conexión ha caducado o ya se ha completado. Debe terminarse antes de diez minutos.',
    'Cette tentative de connexion a expiré ou est déjà terminée. Elle doit être terminée dans les dix minutes.',
    'この接続操作は期限切れか、完了済みです。接続は 10 分以内に終える必要があります。',
  ],
  'This connection attempt was started in another browser or by another user, so no account was connected.': [
    'Dieser Verbindungsversuch wurde in einem anderen Browser oder von einer anderen Person begonnen, deshalb wurde kein Konto verbunden.',
    'Este intento de conexión se inició en otro navegador o por otro usuario, así que no se ha conectado ninguna cuenta.',
    'Cette tentative de connexion a été commencée dans un autre navigateur ou par un autre utilisateur ; aucun compte n’a donc été connecté.',
    'この接続操作は別のブラウザーまたは別のユーザーが開始したため、アカウントは接続されていません。',
  ],
  'This link belongs to another user than the one signed in.': [
    'Dieser Link gehört einer anderen Person als der angemeldeten.',
    'Este enlace pertenece a un usuario distinto del que ha iniciado sesión.',
    'Ce lien appartient à un autre utilisateur que celui qui est connecté.',
    'このリンクは、ログイン中のユーザーとは別のユーザーのものです。',
  ],
  'There is no service with that name.': [
    'Es gibt keinen Dienst mit diesem Namen.',
    'No hay ningún servicio con ese nombre.',
    'Aucun service ne porte ce nom.',
    'その名前のサービスはありません。',
  ],
  '{service} does not require an account.': [
    '{service} verlangt kein Konto.',
    '{service} no requiere una cuenta.',
    '{service} n’exige pas de compte.',
    '{service} にアカウントは必要ありません。',
  ],
  'An account label has at most 60 characters and no control characters.': [
    'Eine Kontobezeichnung hat höchstens 60 Zeichen und keine Steuerzeichen.',
    'La etiqueta de una cuenta tiene 60 caracteres como máximo y ningún carácter de control.',
    'Le libellé d’un compte compte 60 caractères au plus, sans caractère de contrôle.',
    'アカウントのラベルは 60 文字以内で、制御文字は使えません。',
  ],
  'There is no account to connect: your company grants access to this service with your sign-in.': [
    'Es gibt kein Konto zu verbinden: Ihr Unternehmen gewährt den Zugriff auf diesen Dienst mit Ihrer Anmeldung.',
    'No hay ninguna cuenta que conectar: su empresa concede el acceso a este servicio con su inicio de sesión.',
    'Il n’y a aucun compte à connecter : votre entreprise accorde l’accès à ce service avec votre connexion.',
    '接続するアカウントはありません。ログインすると、会社の設定によりこのサービスにアクセスできます。',
  ],
  'There is no such service account, or it may not use this service.': [
    'Dieses Dienstkonto gibt es nicht, oder es darf diesen Dienst nicht verwenden.',
    'No existe esa cuenta de servicio, o no puede usar este servicio.',
    'Ce compte de service n’existe pas, ou il ne peut pas utiliser ce service.',
    'そのサービスアカウントは存在しないか、このサービスを使えません。',
  ],
  'Back to your account page': [
    'Zurück zu Ihrer Kontoseite',
    'Volver a la página de su cuenta',
    'Revenir à la page de votre compte',
    'アカウントのページに戻る',
  ],
  'Connect in this browser': [
    'In diesem Browser verbinden',
    'Conectar en este navegador',
    'Connecter dans ce navigateur',
    'このブラウザーで接続',
  ],
  'Missing server parameter': [
    'Der Parameter server fehlt',
    'Falta el parámetro server',
    'Le paramètre server est absent',
    'server パラメーターがありません',
  ],
  'Unknown server': ['Unbekannter Server', 'Servidor desconocido', 'Serveur inconnu', '不明なサーバーです'],

  // personal access tokens
  'This token was already created, and it is shown only once. If you do not have it, end it and create another one.':
    [
      'Dieses Token wurde schon erstellt und wird nur einmal angezeigt. Wenn Sie es nicht haben, beenden Sie es und erstellen Sie ein neues.',
      'Este token ya se ha creado y solo se muestra una vez. Si no lo tiene, anúlelo y cree otro.',
      'Ce jeton a déjà été créé et n’est affiché qu’une fois. Si vous ne l’avez pas, révoquez-le et créez-en un autre.',
      'このトークンは作成済みで、表示されるのは一度だけです。手元にない場合は、無効にして別のトークンを作成してください。',
    ],
  'This user has as many personal access tokens as one may have. End one first.': [
    'Sie haben bereits die Höchstzahl persönlicher Zugriffstokens. Beenden Sie zuerst eines.',
    'Ya tiene el número máximo de tokens de acceso personal. Anule antes uno.',
    'Vous avez atteint le nombre maximal de jetons d’accès personnels. Révoquez-en d’abord un.',
    '個人用アクセストークンの数が上限に達しています。先にどれかを無効にしてください。',
  ],
  'A token may do no more than its user may do at each of its services.': [
    'Ein Token darf bei keinem seiner Dienste mehr als die Person, der es gehört.',
    'Un token no puede hacer más que su usuario en cada uno de sus servicios.',
    'Un jeton ne peut pas faire plus que son utilisateur sur chacun de ses services.',
    'トークンの権限は、各サービスでのユーザー自身の権限を超えられません。',
  ],
  'On this gateway the administrator creates personal access tokens.': [
    'Auf diesem Gateway erstellt die Administration persönliche Zugriffstokens.',
    'En esta puerta de enlace, los tokens de acceso personal los crea el administrador.',
    'Sur cette passerelle, c’est l’administrateur qui crée les jetons d’accès personnels.',
    'このゲートウェイでは、管理者が個人用アクセストークンを作成します。',
  ],
  'Choose at least one service.': [
    'Wählen Sie mindestens einen Dienst.',
    'Elija al menos un servicio.',
    'Choisissez au moins un service.',
    'サービスを一つ以上選択してください。',
  ],
  'The name may have at most {n} characters.': [
    'Der Name darf höchstens {n} Zeichen haben.',
    'El nombre puede tener {n} caracteres como máximo.',
    'Le nom peut comporter {n} caractères au plus.',
    '名前は {n} 文字以内で入力してください。',
  ],
  'The token may live for at most {n} days.': [
    'Das Token darf höchstens {n} Tage gelten.',
    'El token puede durar {n} días como máximo.',
    'Le jeton peut durer {n} jours au plus.',
    'トークンの有効期間は最長 {n} 日です。',
  ],
  '{service} is public: it needs no token.': [
    '{service} ist öffentlich: Dafür ist kein Token nötig.',
    '{service} es público: no necesita token.',
    '{service} est public : aucun jeton n’est nécessaire.',
    '{service} は公開サービスのため、トークンは必要ありません。',
  ],
  'At {service} this user has no access with a personal access token.': [
    'Bei {service} haben Sie mit einem persönlichen Zugriffstoken keinen Zugriff.',
    'En {service} no tiene acceso con un token de acceso personal.',
    'Sur {service}, vous n’avez pas d’accès avec un jeton d’accès personnel.',
    '{service} では、個人用アクセストークンによるアクセスが許可されていません。',
  ],
  '{service} has no access rules that say what each tool needs, so permissions cannot be limited.': [
    '{service} hat keine Zugriffsregeln, die sagen, was jedes Tool braucht. Deshalb lassen sich die Berechtigungen nicht einschränken.',
    '{service} no tiene reglas de acceso que indiquen qué necesita cada herramienta, así que no se pueden limitar los permisos.',
    '{service} n’a pas de règles d’accès indiquant ce qu’exige chaque outil ; les autorisations ne peuvent donc pas être limitées.',
    '{service} には各ツールに必要な権限を定めたアクセスルールがないため、権限を制限できません。',
  ],
  'At {service} this user has no more than {level} access.': [
    'Bei {service} haben Sie höchstens {level}-Zugriff.',
    'En {service} no tiene más que acceso {level}.',
    'Sur {service}, vous n’avez pas plus que l’accès {level}.',
    '{service} でのあなたの権限は {level} までです。',
  ],
  '{service} has no access rules and other services have: create a token for each.': [
    '{service} hat keine Zugriffsregeln, andere Dienste schon: Erstellen Sie für jeden ein eigenes Token.',
    '{service} no tiene reglas de acceso y otros servicios sí: cree un token para cada uno.',
    '{service} n’a pas de règles d’accès alors que d’autres services en ont : créez un jeton pour chacun.',
    '{service} にはアクセスルールがなく、ほかのサービスにはあります。それぞれにトークンを作成してください。',
  ],
  'The API of the gateway needs a token of its own, with the permission admin.': [
    'Die API des Gateways braucht ein eigenes Token mit der Berechtigung admin.',
    'La API de la puerta de enlace necesita un token propio, con el permiso admin.',
    'L’API de la passerelle nécessite un jeton distinct, avec l’autorisation admin.',
    'ゲートウェイの API には、admin 権限を持つ専用のトークンが必要です。',
  ],
  'The form is not one of this page.': [
    'Das Formular gehört nicht zu dieser Seite.',
    'El formulario no es de esta página.',
    'Le formulaire ne provient pas de cette page.',
    'このフォームはこのページのものではありません。',
  ],

  // the URL of a server by its domain
  'Enter a public domain such as mcp.example.com.': [
    'Geben Sie eine öffentliche Domain wie mcp.example.com ein.',
    'Introduzca un dominio público como mcp.example.com.',
    'Saisissez un domaine public, par exemple mcp.example.com.',
    'mcp.example.com のような公開ドメインを入力してください。',
  ],
  'The domain is too long: {bytes} bytes, and the limit is {most}. Set a short alias for the service in the configuration.':
    [
      'Die Domain ist zu lang: {bytes} Bytes, erlaubt sind {most}. Geben Sie dem Dienst in der Konfiguration einen kurzen Alias.',
      'El dominio es demasiado largo: {bytes} bytes, y el límite es {most}. Asigne al servicio un alias corto en la configuración.',
      'Le domaine est trop long : {bytes} octets, la limite est de {most}. Donnez au service un alias court dans la configuration.',
      'ドメインが長すぎます({bytes} バイト、上限は {most})。設定ファイルでサービスに短い別名を付けてください。',
    ],
  'Encoded hosts require domain_root (DOMAIN_ROOT) in the configuration.': [
    'Kodierte Hosts setzen domain_root (DOMAIN_ROOT) in der Konfiguration voraus.',
    'Los hosts codificados requieren domain_root (DOMAIN_ROOT) en la configuración.',
    'Les hôtes encodés exigent domain_root (DOMAIN_ROOT) dans la configuration.',
    '符号化されたホストを使うには、設定に domain_root(DOMAIN_ROOT)が必要です。',
  ],

  // clients that connect from the internet
  'Needs a public https URL: {client} connects from the internet and cannot reach this gateway.': [
    'Benötigt eine öffentliche https-URL: {client} verbindet sich über das Internet und erreicht dieses Gateway nicht.',
    'Necesita una URL https pública: {client} se conecta desde Internet y no puede acceder a esta puerta de enlace.',
    'Nécessite une URL https publique : {client} se connecte depuis Internet et ne peut pas joindre cette passerelle.',
    '公開された https の URL が必要です。{client} はインターネットから接続するため、このゲートウェイに到達できません。',
  ],

  // names
  'The word “{word}” in this name mixes {first} and {second} letters that look alike.': [
    'Das Wort „{word}“ in diesem Namen mischt ähnlich aussehende Buchstaben zweier Schriften ({first}, {second}).',
    'La palabra «{word}» de este nombre mezcla letras parecidas de dos alfabetos ({first}, {second}).',
    'Le mot « {word} » de ce nom mélange des lettres semblables de deux alphabets ({first}, {second}).',
    'この名前の「{word}」には、見た目の似た異なる文字({first}、{second})が混ざっています。',
  ],
  'The word “{word}” in this name is spelled with {alphabet} letters that look like Latin ones.': [
    'Das Wort „{word}“ in diesem Namen besteht aus Buchstaben, die nur wie lateinische aussehen ({alphabet}).',
    'La palabra «{word}» de este nombre está escrita con letras que parecen latinas ({alphabet}).',
    'Le mot « {word} » de ce nom est écrit avec des lettres qui ressemblent à des lettres latines ({alphabet}).',
    'この名前の「{word}」は、ラテン文字に似た別の文字({alphabet})で書かれています。',
  ],
})
