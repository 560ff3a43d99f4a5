import json
from io import BytesIO

from optuna_dashboard import wsgi

from tasks.storage.optuna_database import open_to_read
from tests.integration.search.fake_training import SEARCH, run


def test_optuna_dashboard_opens_the_study(url):
    run(url, search=SEARCH.model_copy(update={"trials": 2}))
    statuses = []

    body = wsgi(open_to_read(url))(
        {
            "REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
            "wsgi.input": BytesIO(), "wsgi.errors": BytesIO(), "wsgi.url_scheme": "http", "QUERY_STRING": "",
        },
        lambda status, headers, *_: statuses.append(status),
    )  # fmt: skip

    assert statuses == ["200 OK"]
    assert [study["study_name"] for study in json.loads(b"".join(body))["study_summaries"]] == ["study"]
