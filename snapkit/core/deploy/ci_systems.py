"""The CI systems that are known, and how each tells of itself in the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from snapkit.core.deploy.deploy import MAX_TEXT, CiRun, clean, commit_id
from snapkit.core.values import dataclass

_USE_OF_VARIABLE = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class CiSystem:
    """How a CI system tells of itself in the environment: names of variables, of which the first that is set counts."""

    name: str
    mark: str
    """Is set there, and nowhere else."""
    commit: str
    ref: tuple[str, ...]
    run: str
    url: str
    """With variables in braces; it is left out where one of them is not set."""

    def read(self, environment: Mapping[str, str]) -> CiRun | None:
        if not environment.get(self.mark):
            return None
        return CiRun(
            name=self.name,
            commit=commit_id(environment.get(self.commit)),
            ref=next(filter(None, (clean(environment.get(name)) for name in self.ref)), None),
            run=clean(environment.get(self.run)),
            url=self._url(environment),
        )

    def _url(self, environment: Mapping[str, str]) -> str | None:
        values = {name: clean(environment.get(name)) for name in _USE_OF_VARIABLE.findall(self.url)}
        if not all(values.values()):
            return None
        url = _USE_OF_VARIABLE.sub(lambda match: values[match[1]] or "", self.url)
        return url if len(url) <= MAX_TEXT else None  # a part of one leads nowhere


CI_SYSTEMS = (
    CiSystem(
        "GitHub Actions",
        mark="GITHUB_ACTIONS",
        commit="GITHUB_SHA",
        ref=("GITHUB_HEAD_REF", "GITHUB_REF_NAME"),
        run="GITHUB_RUN_ID",
        url="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",
    ),
    CiSystem(
        "GitLab CI",
        mark="GITLAB_CI",
        commit="CI_COMMIT_SHA",
        ref=("CI_COMMIT_TAG", "CI_COMMIT_REF_NAME"),
        run="CI_PIPELINE_ID",
        url="{CI_JOB_URL}",
    ),
    CiSystem(
        "Jenkins",
        mark="JENKINS_URL",
        commit="GIT_COMMIT",
        ref=("TAG_NAME", "CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"),
        run="BUILD_TAG",
        url="{BUILD_URL}",
    ),
    CiSystem(
        "CircleCI",
        mark="CIRCLECI",
        commit="CIRCLE_SHA1",
        ref=("CIRCLE_TAG", "CIRCLE_BRANCH"),
        run="CIRCLE_BUILD_NUM",
        url="{CIRCLE_BUILD_URL}",
    ),
    CiSystem(
        "Buildkite",
        mark="BUILDKITE",
        commit="BUILDKITE_COMMIT",
        ref=("BUILDKITE_TAG", "BUILDKITE_BRANCH"),
        run="BUILDKITE_BUILD_NUMBER",
        url="{BUILDKITE_BUILD_URL}",
    ),
    CiSystem(
        "Bitbucket Pipelines",
        mark="BITBUCKET_BUILD_NUMBER",
        commit="BITBUCKET_COMMIT",
        ref=("BITBUCKET_TAG", "BITBUCKET_BRANCH"),
        run="BITBUCKET_BUILD_NUMBER",
        url="{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
    ),
    CiSystem(
        "Azure Pipelines",
        mark="TF_BUILD",
        commit="BUILD_SOURCEVERSION",
        ref=("BUILD_SOURCEBRANCHNAME",),
        run="BUILD_BUILDID",
        url="{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",
    ),
    CiSystem(
        "Travis CI",
        mark="TRAVIS",
        commit="TRAVIS_COMMIT",
        ref=("TRAVIS_TAG", "TRAVIS_BRANCH"),
        run="TRAVIS_BUILD_NUMBER",
        url="{TRAVIS_BUILD_WEB_URL}",
    ),
    CiSystem(
        "Drone",
        mark="DRONE",
        commit="DRONE_COMMIT_SHA",
        ref=("DRONE_TAG", "DRONE_BRANCH"),
        run="DRONE_BUILD_NUMBER",
        url="{DRONE_BUILD_LINK}",
    ),
    CiSystem(
        "AWS CodeBuild",
        mark="CODEBUILD_BUILD_ID",
        commit="CODEBUILD_RESOLVED_SOURCE_VERSION",
        ref=("CODEBUILD_WEBHOOK_HEAD_REF",),
        run="CODEBUILD_BUILD_NUMBER",
        url="{CODEBUILD_PUBLIC_BUILD_URL}",
    ),
)
"""Another one is another line here."""


def recognise_ci(environment: Mapping[str, str]) -> CiRun | None:
    """Return the CI run that an environment belongs to; None if it is that of none we know."""
    return next(filter(None, (system.read(environment) for system in CI_SYSTEMS)), None)
