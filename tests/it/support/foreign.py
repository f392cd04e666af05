# A client of Azure's own protocols that knows nothing of Annals: prints every property of every row of every
# table of an account, and every message of every queue, decoded where a client would decode it.
# Arguments: a connection string (AccountName, AccountKey, TableEndpoint, QueueEndpoint).
import base64, datetime, hashlib, hmac, json, sys, urllib.error, urllib.parse, urllib.request
import xml.etree.ElementTree as xml

parts = dict(part.split("=", 1) for part in sys.argv[1].split(";") if part)
account, key = parts["AccountName"], base64.b64decode(parts["AccountKey"])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")


def sign(text):
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def table(path, query=""):
    date = now()
    signature = sign(date + "\n/" + account + "/" + account + "/" + path)
    headers = {"Authorization": "SharedKeyLite " + account + ":" + signature, "x-ms-date": date,
               "x-ms-version": "2019-02-02", "Accept": "application/json;odata=fullmetadata"}
    request = urllib.request.Request(parts["TableEndpoint"] + "/" + path + query, headers=headers)
    with opener.open(request) as answer:
        return json.load(answer)["value"], answer.headers


def queue(path, query):
    date = now()
    resource = "/" + account + "/" + account + "/" + path
    resource += "".join("\n" + name + ":" + value for name, value in sorted(query.items()))
    named = "x-ms-date:" + date + "\nx-ms-version:2021-12-02\n"
    signature = sign("GET" + "\n" * 12 + named + resource)
    headers = {"Authorization": "SharedKey " + account + ":" + signature, "x-ms-date": date, "x-ms-version": "2021-12-02"}
    url = parts["QueueEndpoint"] + "/" + path + "?" + urllib.parse.urlencode(query)
    with opener.open(urllib.request.Request(url, headers=headers)) as answer:
        return xml.fromstring(answer.read().decode("utf-8-sig"))


def decoded(text):
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError:
        return text


for found in table("Tables")[0]:
    name, query = found["TableName"], ""
    print("table", name)
    while True:
        rows, headers = table(name + "()", query)
        for row in rows:
            for member, value in row.items():
                if row.get(member + "@odata.type") == "Edm.Binary":
                    value = base64.b64decode(value).decode("utf-8", "replace")
                print(name, row["PartitionKey"], row["RowKey"], member, value)
        if "x-ms-continuation-NextPartitionKey" not in headers:
            break
        query = "?" + urllib.parse.urlencode({
            "NextPartitionKey": headers["x-ms-continuation-NextPartitionKey"],
            "NextRowKey": headers.get("x-ms-continuation-NextRowKey", ""),
        })
for found in queue("", {"comp": "list"}).iter("Name"):
    print("queue", found.text)
    messages = queue(found.text + "/messages", {"peekonly": "true", "numofmessages": "32"})
    for message in messages.iter("MessageText"):
        print(found.text, message.text, decoded(message.text or ""))
