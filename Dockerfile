# docker build -t sottovoce .
# docker run --rm sottovoce                                     the scenario quickstart
# docker run --rm -v "$PWD/runs:/runs" sottovoce run tradeoff   another one, its folder kept
FROM python:3.12-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

# The lock first: its layer is built again only when versions change. It names everything, as pip check shows.
WORKDIR /source
COPY requirements.lock ./
RUN pip install --no-deps -r requirements.lock
COPY . .
RUN pip install --no-deps --no-build-isolation . && pip check

RUN useradd --create-home --uid 1000 sottovoce && mkdir /runs && chown sottovoce /runs
USER sottovoce
# Runs are written to the folder runs of the working directory, here /runs.
WORKDIR /
ENTRYPOINT ["sottovoce"]
CMD ["run", "quickstart"]
